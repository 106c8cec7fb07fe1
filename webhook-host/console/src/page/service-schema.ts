// The part of the Service API that completion offers: a JSON Schema by hand, since Kubernetes publishes none for v1 alone.

import type { Schema } from './completion';

const text = (description: string): Schema => ({ type: 'string', description });
const words = (description: string, ...values: string[]): Schema => ({ enum: values, description });

const port: Schema = {
  properties: {
    name: text('Required where there are several ports'),
    port: { type: 'integer', description: 'The port on the cluster IP' },
    targetPort: { description: 'The port of the Pods, by number or name' },
    nodePort: { type: 'integer', description: 'The port on every node; the API server chooses one if it is left out' },
    protocol: words('', 'TCP', 'UDP', 'SCTP'),
    appProtocol: text('Such as kubernetes.io/h2c'),
  },
};

/** Schema of a v1 Service. */
export const SERVICE: Schema = {
  properties: {
    apiVersion: words('', 'v1'),
    kind: words('', 'Service', 'Namespace'),
    metadata: {
      properties: {
        name: text('The DNS name within the namespace'),
        namespace: text('default if it is left out'),
        labels: {},
        annotations: {},
      },
    },
    spec: {
      properties: {
        type: words('How it is reached', 'ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
        selector: { description: 'The labels of the Pods that serve it' },
        ports: { items: port },
        clusterIP: words('None: headless', 'None'),
        externalTrafficPolicy: words('Local keeps the address of the client', 'Cluster', 'Local'),
        internalTrafficPolicy: words('', 'Cluster', 'Local'),
        allocateLoadBalancerNodePorts: { type: 'boolean' },
        loadBalancerClass: text('The controller that serves it'),
        loadBalancerIP: text('Deprecated'),
        loadBalancerSourceRanges: { description: 'The addresses that may connect, as CIDR blocks' },
        externalIPs: { description: 'Addresses that the cluster does not manage' },
        externalName: text('The DNS name of an alias'),
        sessionAffinity: words('', 'None', 'ClientIP'),
        healthCheckNodePort: { type: 'integer' },
        publishNotReadyAddresses: { type: 'boolean' },
        ipFamilyPolicy: words('', 'SingleStack', 'PreferDualStack', 'RequireDualStack'),
        ipFamilies: { items: words('', 'IPv4', 'IPv6') },
        trafficDistribution: words('', 'PreferSameZone', 'PreferSameNode'),
      },
    },
  },
};
