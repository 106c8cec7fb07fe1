// Examples of Services, and of clusters to judge them for.

/** Services with a short name, as the menu shows them. */
export const EXAMPLES: Record<string, string> = {
  'ClusterIP: inside the cluster': `apiVersion: v1
kind: Service
metadata:
  name: api
  namespace: shop
spec:
  type: ClusterIP
  selector: { app: api }
  ports:
  - { name: http, port: 80, targetPort: 8080 }
`,
  'NodePort 30080: a port of every node': `apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  type: NodePort
  selector: { app: web }
  ports:
  - name: http
    port: 80
    targetPort: 8080
    nodePort: 30080
`,
  'LoadBalancer: an address outside': `apiVersion: v1
kind: Service
metadata:
  name: shop
  namespace: shop
spec:
  type: LoadBalancer
  selector: { app: shop }
  ports:
  - { name: https, port: 443, targetPort: 8443 }
`,
  'A database that is published by mistake': `apiVersion: v1
kind: Service
metadata:
  name: postgres
  namespace: shop
spec:
  type: LoadBalancer
  selector: { app: postgres }
  ports:
  - { name: postgres, port: 5432 }
`,
  'Several documents': `apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: { tier: frontend }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  type: NodePort
  selector: { app: web }
  ports:
  - { name: http, port: 80, nodePort: 31000 }
---
apiVersion: v1
kind: Service
metadata: { name: alias, namespace: shop }
spec:
  type: ExternalName
  externalName: metadata.google.internal
---
apiVersion: v1
kind: Service
metadata: { name: dns, namespace: shop }
spec:
  externalIPs: [192.0.2.1]
  selector: { app: dns }
  ports:
  - { name: dns, port: 53, protocol: UDP }
`,
};

const host = (spec: string) => `# What policies may know about the cluster: docs/operations.md explains every key.
apiVersion: sallyport.dev/v1alpha1
kind: HostConfig
metadata: { name: playground }
spec:
  inventory:
    cluster:
${spec}
      nodePorts: { from: 30000, to: 32767 }
    namespaces:
      shop: { labels: { tier: frontend } }
`;

/** HostConfigs. */
export const CLUSTERS: Record<string, string> = {
  'own machines, no cloud': host('      environment: onPrem'),
  'a cloud (AWS)': host(`      environment: cloud
      nodes:
      - { name: node-1, providerID: "aws:///eu-west-1a/i-0123456789abcdef0" }`),
  'a cloud (Google)': host(`      environment: cloud
      nodes:
      - { name: node-1, providerID: "gce://project/europe-west1-b/node-1" }`),
};
