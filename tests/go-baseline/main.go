// An admission webhook that allows everything, by Go's standard library alone: what `make bench-cluster` measures Sallyport
// against. It decodes each AdmissionReview as far as it must to answer it, which is the least that any webhook does.
//
//	go-baseline LISTEN CERT KEY      prints the address that it serves on
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

// As large as the API server's own limit on a request.
const bodyLimit = 3 << 20

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID string `json:"uid"`
}

type response struct {
	UID     string `json:"uid"`
	Allowed bool   `json:"allowed"`
}

func allow(out http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(out, in.Body, bodyLimit))
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	var asked review
	if err := json.Unmarshal(body, &asked); err != nil || asked.Request == nil {
		http.Error(out, fmt.Sprintf("no AdmissionReview with a request: %v", err), http.StatusBadRequest)
		return
	}
	answer, err := json.Marshal(review{
		APIVersion: asked.APIVersion,
		Kind:       asked.Kind,
		Response:   &response{UID: asked.Request.UID, Allowed: true},
	})
	if err != nil {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	out.Write(answer)
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: go-baseline LISTEN CERT KEY")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving on https://%s", listener.Addr())
	// ServeTLS offers h2 and http/1.1.
	server := &http.Server{Handler: http.HandlerFunc(allow)}
	log.Fatal(server.ServeTLS(listener, os.Args[2], os.Args[3]))
}
