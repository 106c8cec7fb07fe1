// The policy service-type (S01, M1) once more, in TypeScript. Its Rust twin is policies/service-type/src/lib.rs, its
// world policies/service-type/policy.wit; both pass the same suites. What an update widens (tests/fixtures/widening), only the
// Rust one knows, by its SDK.
//
// The host calls `configure` once and takes its snapshot afterwards: `settings` is in place in every evaluation.

import type { ServiceType } from 'sallyport:policy/service@0.2.0';
import type { SettingsError, Violation } from 'sallyport:policy/verdict@0.2.0';
import { add, logged, quote, verdict } from './sallyport.js';

interface Settings {
  allowedTypes: ServiceType[];
  perNamespace: [string, ServiceType[]][];
}

/** The cases of the contract's `service-type`, and what Kubernetes calls them. */
const NAMES: Record<ServiceType, string> = {
  'cluster-ip': 'ClusterIP',
  'node-port': 'NodePort',
  'load-balancer': 'LoadBalancer',
  'external-name': 'ExternalName',
};

/** What the API server puts where nothing is said. */
const DEFAULT_TYPE: ServiceType = 'cluster-ip';

let settings: Settings;

export function defaults(): Settings {
  return { allowedTypes: Object.keys(NAMES) as ServiceType[], perNamespace: [] };
}

/** An error is thrown as the list that the contract's `result` carries. */
export function configure(given: Settings): void {
  const errors = [...emptyLists(given), ...impossibleNames(given)];
  if (errors.length > 0) throw errors;
  settings = given;
}

export const policy = logged({
  describe() {
    return {
      name: 'service-type',
      version: '0.1.0',
      phases: ['validating', 'mutating'],
      operations: ['create', 'update'],
      resources: ['services'],
      context: [],
      // No flag is set: it wants to be asked about every Service.
      about: {},
      // It compares no free-form text.
      compares: [],
    };
  },

  /** S01: the type is among those that the namespace may use. */
  validate({ service, namespace }) {
    const type = service.spec.type ?? DEFAULT_TYPE;
    const allowed = allowedIn(namespace.name);
    return verdict({ violations: allowed.includes(type) ? [] : [violation(type, namespace.name, allowed)] });
  },

  /** M1: only raw manifests can lack a type; a live API server has set the default before any webhook runs. */
  mutate({ service }) {
    if (service.spec.type != null) return verdict();
    const parent = service.hasSpec ? [] : [add('/spec', {})];
    return verdict({ patch: [...parent, add('/spec/type', NAMES[DEFAULT_TYPE])] });
  },
});

function allowedIn(namespace: string): ServiceType[] {
  const own = settings.perNamespace.find(([name]) => name === namespace);
  return own?.[1] ?? settings.allowedTypes;
}

function violation(type: ServiceType, namespace: string, allowed: ServiceType[]): Violation {
  return {
    rule: 'S01',
    key: NAMES[type],
    field: 'spec.type',
    message: `${NAMES[type]} is not allowed in namespace ${quote(namespace)}`,
    fix: `use ${allowed.map((type) => NAMES[type]).join(' or ')}`,
  };
}

function emptyLists({ allowedTypes, perNamespace }: Settings): SettingsError[] {
  const lists: [string, ServiceType[]][] = [
    ['allowedTypes', allowedTypes],
    ...perNamespace.map(([name, types]): [string, ServiceType[]] => [`perNamespace[${quote(name)}]`, types]),
  ];
  return lists
    .filter(([, types]) => types.length === 0)
    .map(([path]) => ({ path, message: 'an empty list allows no Service at all; name at least one type' }));
}

/** As the Rust SDK's `names::namespaces`: a name that no namespace can have would have no effect (RFC 1123). */
function impossibleNames({ perNamespace }: Settings): SettingsError[] {
  const message =
    'no namespace can have this name, so that it has no effect; write the names one by one, without patterns';
  return perNamespace
    .filter(([name]) => !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
    .map(([name]) => ({ path: `perNamespace[${quote(name)}]`, message }));
}
