// The policy service-type (S01, M1) once more, in JavaScript. Its Rust twin is policies/service-type/src/lib.rs, its
// world policies/service-type/policy.wit; both pass the same suites.
//
// The host calls `configure` once and takes its snapshot afterwards: `settings` is in place in every evaluation.

/** The cases of the contract's `service-type`, and what Kubernetes calls them. */
const NAMES = {
  'cluster-ip': 'ClusterIP',
  'node-port': 'NodePort',
  'load-balancer': 'LoadBalancer',
  'external-name': 'ExternalName',
};

/** What the API server puts where nothing is said. */
const DEFAULT_TYPE = 'cluster-ip';

let settings;

export function defaults() {
  return { allowedTypes: Object.keys(NAMES), perNamespace: [] };
}

/** An error is thrown as the list that the contract's `result` carries. */
export function configure(given) {
  const errors = emptyLists(given);
  if (errors.length > 0) throw errors;
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

  /** S01: the type is among those that the namespace may use. */
  validate({ service }) {
    const type = service.spec.type ?? DEFAULT_TYPE;
    const allowed = allowedIn(service.metadata.namespace);
    const violations = allowed.includes(type) ? [] : [violation(type, allowed)];
    return { violations, warnings: [], auditAnnotations: [] };
  },

  /** M1: a Service without a type becomes what it would be anyway. */
  mutate({ service }) {
    const patch = service.hasSpec && service.spec.type === undefined
      ? [{ tag: 'add', val: { path: '/spec/type', value: JSON.stringify(NAMES[DEFAULT_TYPE]) } }]
      : [];
    return { patch, warnings: [], auditAnnotations: [] };
  },
};

function allowedIn(namespace) {
  const [, types] = settings.perNamespace.find(([name]) => name === namespace) ?? [];
  return types ?? settings.allowedTypes;
}

function violation(type, allowed) {
  const names = allowed.map((type) => NAMES[type]).join(', ');
  return {
    rule: 'S01',
    key: NAMES[type],
    field: 'spec.type',
    message: `${NAMES[type]} is not among ${names}`,
    fix: `use ${names}`,
  };
}

function emptyLists({ allowedTypes, perNamespace }) {
  const lists = [
    ['allowedTypes', allowedTypes],
    ...perNamespace.map(([name, types]) => [`perNamespace[${name}]`, types]),
  ];
  return lists
    .filter(([, types]) => types.length === 0)
    .map(([path]) => ({ path, message: 'an empty list allows no type at all; name at least one' }));
}
