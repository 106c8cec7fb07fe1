{{/* Labels of every object. */}}
{{- define "sallyport.labels" -}}
app.kubernetes.io/part-of: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{- define "sallyport.selector" -}}
app.kubernetes.io/name: sallyport
{{- end }}

{{- define "sallyport.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/* True where the release's own ConfigMap holds the policies, in place of a preset of the image. */}}
{{- define "sallyport.ownPolicies" -}}
{{- if .Values.policies }}true{{ end }}
{{- end }}

{{/* The argument of --policies. */}}
{{- define "sallyport.policiesDirectory" -}}
{{- if include "sallyport.ownPolicies" . -}}
/etc/sallyport/release
{{- else -}}
/etc/sallyport/presets/$(PRESET)
{{- end }}
{{- end }}

{{/* Lays the mapping `over` over the mapping `under`, in place. Sprig's merge functions would lose false, 0 and empty lists. */}}
{{- define "sallyport.overlay" -}}
{{- $under := .under }}
{{- range $key, $value := .over }}
{{- if and (kindIs "map" $value) (kindIs "map" (get $under $key)) }}
{{- include "sallyport.overlay" (dict "under" (get $under $key) "over" $value) }}
{{- else }}
{{- $_ := set $under $key $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* ServicePolicies as YAML documents: those of the preset as `policies` changes them, then those that `policies` adds. */}}
{{- define "sallyport.policies" -}}
{{- $served := dict }}
{{- $file := printf "files/presets/%s/policies.yaml" .Values.preset }}
{{- range splitList "\n---\n" (.Files.Get $file) }}
{{- $policy := fromYaml . }}
{{- if $policy }}
{{- $_ := set $served $policy.metadata.name $policy.spec }}
{{- end }}
{{- end }}
{{- range $name, $changes := .Values.policies }}
{{- if eq $changes.enabled false }}
{{- if not (hasKey $served $name) }}
{{- fail (printf "policies.%s.enabled: the preset %s has no policy of this name; it has %s" $name $.Values.preset (keys $served | sortAlpha | join ", " | default "none")) }}
{{- end }}
{{- $_ := unset $served $name }}
{{- else }}
{{- $spec := get $served $name | default dict }}
{{- include "sallyport.overlay" (dict "under" $spec "over" (omit $changes "enabled")) }}
{{- if not $spec.module }}
{{- fail (printf "policies.%s.module: required, since the preset %s has no policy of this name; it has %s" $name $.Values.preset (keys $served | sortAlpha | join ", " | default "none")) }}
{{- end }}
{{- $_ := set $served $name $spec }}
{{- end }}
{{- end }}
{{- if not $served }}
{{- fail (printf "policies: none is left of the preset %s; use preset: none without policies for ServicePolicies of the cluster alone" .Values.preset) }}
{{- end }}
{{- range $name := keys $served | sortAlpha }}
---
apiVersion: sallyport.dev/v1alpha1
kind: ServicePolicy
metadata:
  name: {{ $name }}
spec: {{- get $served $name | toYaml | nindent 2 }}
{{- end }}
{{- end }}

{{/* True where deletions of Services are asked about: by webhooks.deletions, else where a policy of the release judges them. */}}
{{- define "sallyport.deletions" -}}
{{- if kindIs "bool" .Values.webhooks.deletions -}}
{{- if .Values.webhooks.deletions }}true{{ end }}
{{- else if or (ne .Values.preset "none") .Values.policies -}}
{{- if regexMatch "change.protection|\\bDELETE\\b" (include "sallyport.policies" .) }}true{{ end }}
{{- end }}
{{- end }}

{{/* The HostConfig. */}}
{{- define "sallyport.config" -}}
apiVersion: sallyport.dev/v1alpha1
kind: HostConfig
metadata:
  name: sallyport
spec: {{- toYaml .Values.config | nindent 2 }}
{{- end }}

{{- define "sallyport.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "sallyport.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Annotations of a hook's object; `hook` names the hooks, `weight` the order. Objects of a hook go with its end, whatever it is. */}}
{{- define "sallyport.hook" -}}
helm.sh/hook: {{ .hook }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{/* Refuses what the schema can't: values that exclude each other, and places that would leave Services unjudged. */}}
{{- define "sallyport.validate" -}}
{{- if has .Release.Namespace (list "default" "kube-system" "kube-public" "kube-node-lease") }}
{{- fail (printf "namespace %s: Sallyport needs a namespace of its own, since no Service of its namespace is judged; use --namespace sallyport-system --create-namespace" .Release.Namespace) }}
{{- end }}
{{- if and .Values.certManager.issuerRef (ne .Values.mode "cert-manager") }}
{{- fail (printf "certManager.issuerRef: has no effect in mode %s; use mode: cert-manager" .Values.mode) }}
{{- end }}
{{- $ca := .Values.registries.ca }}
{{- if and $ca.configMap $ca.secret }}
{{- fail "registries.ca: names a configMap and a secret; keep one of them" }}
{{- end }}
{{- if and $ca.key (not (or $ca.configMap $ca.secret)) }}
{{- fail "registries.ca.key: add the name of a configMap or of a secret that has this key" }}
{{- end }}
{{- range $name, $policy := .Values.policies }}
{{- if and (dig "module" "oci" "" $policy) (not (dig "registries" "sources" list $.Values.config)) }}
{{- fail (printf "policies.%s.module.oci: hosts pull nothing until config.registries.sources lists repositories, such as [ghcr.io/acme/*]" $name) }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.hostNetwork }}
{{- fail "hostNetwork: NetworkPolicies don't apply to Pods on the host's network; set networkPolicy.enabled: false and protect ports 8443 and 8081 of the nodes yourself" }}
{{- end }}
{{- end }}

{{/* How a container reaches registries: arguments, mounts, and the Pod's volumes for them. */}}
{{- define "sallyport.registryArguments" -}}
{{- with .Values.registries }}
{{- if .pullSecret }}
- --registry-credentials=/etc/sallyport/registry/.dockerconfigjson
{{- end }}
{{- if .ca }}
- --registry-ca=/etc/sallyport/registry-ca/{{ .ca.key | default "ca.crt" }}
{{- end }}
{{- if .cacheClaim }}
- --registry-cache=/var/cache/sallyport-registry/components
{{- end }}
{{- end }}
{{- end }}

{{- define "sallyport.registryMounts" -}}
{{- with .Values.registries }}
{{- if .pullSecret }}
- { name: registry, mountPath: /etc/sallyport/registry, readOnly: true }
{{- end }}
{{- if .ca }}
- { name: registry-ca, mountPath: /etc/sallyport/registry-ca, readOnly: true }
{{- end }}
{{- if .cacheClaim }}
- { name: registry-cache, mountPath: /var/cache/sallyport-registry }
{{- end }}
{{- end }}
{{- end }}

{{- define "sallyport.registryVolumes" -}}
{{- with .Values.registries }}
{{- if .pullSecret }}
- name: registry
  secret:
    secretName: {{ .pullSecret }}
    defaultMode: 0440
{{- end }}
{{- if .ca }}
- name: registry-ca
  {{- if .ca.secret }}
  secret:
    secretName: {{ .ca.secret }}
    defaultMode: 0440
  {{- else }}
  configMap: { name: {{ .ca.configMap }} }
  {{- end }}
{{- end }}
{{- if .cacheClaim }}
- name: registry-cache
  persistentVolumeClaim: { claimName: {{ .cacheClaim }} }
{{- end }}
{{- end }}
{{- end }}
