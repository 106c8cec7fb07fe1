// Reviews for tests: requests to create a Service, of which a test says only what matters to it.

/** A Service of type ClusterIP. Fields of its metadata and spec can be given: `service({ labels: [['team', 'a']] })`. */
export function service({ name = 'web', namespace = 'default', labels = [], annotations = [], ...spec } = {}) {
  return {
    metadata: { name, namespace, labels, annotations, finalizers: [], ownerReferences: [] },
    hasSpec: true,
    spec: {
      type: 'cluster-ip',
      ports: [port(80)],
      selector: [['app', 'web']],
      clusterIps: [],
      ipFamilies: [],
      externalIps: [],
      externalTrafficPolicyByClient: false,
      healthCheckNodePortByClient: false,
      allocateLoadBalancerNodePortsByClient: false,
      loadBalancerSourceRanges: [],
      publishNotReadyAddresses: false,
      ...spec,
    },
    status: { loadBalancerIngress: [], conditions: [] },
  };
}

export function port(number, given = {}) {
  return { protocol: 'TCP', port: number, nodePortByClient: 'nodePort' in given, ...given };
}

/** A request to create a Service, or to update `oldService`. */
export function review(of, given = {}) {
  return {
    phase: 'validating',
    operation: 'oldService' in given ? 'update' : 'create',
    resource: 'services',
    dryRun: false,
    user: { name: 'jane', groups: ['system:authenticated'], extra: [] },
    service: of,
    namespace: { name: of.metadata.namespace, labels: [], known: true },
    cluster: { providers: [], nodePorts: { from: 30000, to: 32767 } },
    time: 0n,
    ...given,
  };
}
