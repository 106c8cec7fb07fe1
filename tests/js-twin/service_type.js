// The policy service-type (S01, M1) once more, in JavaScript. Its Rust twin is policies/service-type/src/lib.rs, its
// world policies/service-type/policy.wit; both pass the same suites.
//
// The host calls `configure` once and takes its snapshot afterwards, so `settings` is in place in every evaluation.

const KUBERNETES_NAMES = {
  'cluster-ip': 'ClusterIP',
  'node-port': 'NodePort',
  'load-balancer': 'LoadBalancer',
  'external-name': 'ExternalName',
};

let settings = defaults();

export function defaults() {
  return { allowedTypes: Object.keys(KUBERNETES_NAMES), perNamespace: [] };
}

export function configure(given) {
  settings = given;
}

export const policy = {
  describe() {
    return {
      name: 'service-type',
      version: '0.1.0',
      phases: ['mutating', 'validating'],
      operations: ['create', 'update'],
      resources: ['services'],
      context: [],
    };
  },

  validate(review) {
    return { violations: [], warnings: [], auditAnnotations: [] };
  },

  mutate(review) {
    const patch = [];
    return { patch, warnings: [], auditAnnotations: [] };
  },
};
