// The contract sallyport:policy. Made of its WIT, wit/deps; not to be changed.

declare module 'sallyport:policy/log@0.2.0' {

  export type Level =
    | 'debug'
    | 'info'
    | 'warn'
    | 'error';

  /** Writes a line to the host's log, with the policy's name. The host bounds count and length. */
  export function log(level: Level, message: string): void;
}

declare module 'sallyport:policy/service@0.2.0' {

  /** A key and its value. Lists of pairs are sorted by key and hold each key once. */
  export type Pair = [string, string];

  /**
   * JSON text.
   *
   * A policy's settings may have fields of this type: manifests write any YAML there, and the policy gets it as JSON text. A
   * world gets the name by `use sallyport:policy/verdict@0.2.0.{json, settings-error};`.
   */
  export type Json = string;

  /** An object whose deletion lets the garbage collector delete the Service. It is of the same namespace, or of none. */
  export interface OwnerReference {
    apiVersion: string;
    kind: string;
    name: string;
    uid: string;
    /** True for the one owner that manages the Service. */
    controller: boolean;
    blockOwnerDeletion: boolean;
  }

  export interface Metadata {
    /** Empty while the API server has yet to generate it from `generate-name` (mutating phase). */
    name: string;
    generateName?: string;
    namespace: string;
    labels: Pair[];
    annotations: Pair[];
    /** None on create in the mutating phase, and in manifests. */
    uid?: string;
    /** The number of changes to the desired state. Older API servers don't count those of Services. */
    generation?: bigint;
    /** RFC 3339. None on create in the mutating phase, and in manifests. */
    creationTimestamp?: string;
    /** RFC 3339; set while the Service waits for its finalizers. */
    deletionTimestamp?: string;
    finalizers: string[];
    ownerReferences: OwnerReference[];
  }

  /** `spec.type`. */
  export type ServiceType =
    /** Reached from inside the cluster only. */
    | 'cluster-ip'
    /** Reached from outside, on a static port of every node. */
    | 'node-port'
    /** Reached from outside, through a load balancer that some controller provides. */
    | 'load-balancer'
    /** A DNS alias. */
    | 'external-name';

  export interface SessionAffinityConfig {
    /** `clientIP.timeoutSeconds`: how long a client reaches the same Pod. 10800 unless somebody says otherwise. */
    clientIpTimeoutSeconds?: number;
  }

  /** The target of a port on the selected Pods. */
  export type TargetPort =
    | { tag: 'number'; val: number }
    /** The name of a container port. */
    | { tag: 'name'; val: string };

  /** One of `spec.ports`. */
  export interface Port {
    name?: string;
    /** TCP, UDP or SCTP; the API's default, TCP, where the object says nothing. */
    protocol: string;
    appProtocol?: string;
    /** The port on the cluster IP. The mutating phase sees it before the API server checked its range. */
    port: number;
    targetPort?: TargetPort;
    /**
     * The port on every node. The mutating phase sees only what a client set, even out of range; the validating phase
     * sees what was allocated, too.
     */
    nodePort?: number;
    /**
     * True if a client set `nodePort` (managedFields); false if the API server allocated it. True where there are no
     * managedFields, as in a manifest.
     */
    nodePortByClient: boolean;
  }

  export interface Spec {
    /** None only in raw manifests: a live API server has set the default, ClusterIP, before any webhook runs. */
    type?: ServiceType;
    ports: Port[];
    selector: Pair[];
    /** `None` (the text) for a headless Service. */
    clusterIp?: string;
    /** The addresses of all IP families, the first of which is `cluster-ip`. */
    clusterIps: string[];
    /** `IPv4`, `IPv6`: the family of each cluster IP. */
    ipFamilies: string[];
    /** `SingleStack`, `PreferDualStack` or `RequireDualStack`. */
    ipFamilyPolicy?: string;
    /** `Cluster` or `Local`: the Pods to which traffic from inside the cluster goes. */
    internalTrafficPolicy?: string;
    /** `None` (the text) or `ClientIP`. */
    sessionAffinity?: string;
    sessionAffinityConfig?: SessionAffinityConfig;
    /** A preference for close Pods, such as `PreferSameZone`. */
    trafficDistribution?: string;
    externalIps: string[];
    externalName?: string;
    externalTrafficPolicy?: string;
    /**
     * True if a client certainly set `externalTrafficPolicy`; false where it may be the default, Cluster. Only server-side
     * apply shows that it is not: managedFields of other requests list defaults, too. True where there are no managedFields.
     */
    externalTrafficPolicyByClient: boolean;
    healthCheckNodePort?: number;
    /** True if a client set `healthCheckNodePort` (managedFields); false if the API server allocated it. */
    healthCheckNodePortByClient: boolean;
    allocateLoadBalancerNodePorts?: boolean;
    /**
     * True if a client certainly set `allocateLoadBalancerNodePorts`; false where it may be the default, true. Only
     * server-side apply shows it: managedFields of other requests list defaults, too.
     */
    allocateLoadBalancerNodePortsByClient: boolean;
    loadBalancerClass?: string;
    loadBalancerIp?: string;
    loadBalancerSourceRanges: string[];
    publishNotReadyAddresses: boolean;
  }

  /** One of `status.conditions`, such as `LoadBalancerPortsError`. */
  export interface Condition {
    type: string;
    /** `True`, `False` or `Unknown`. */
    status: string;
    reason: string;
    /** A text for people. */
    message: string;
    /** The generation of the Service that the condition is about. */
    observedGeneration?: bigint;
    /** RFC 3339. */
    lastTransitionTime: string;
  }

  /** One of `status.loadBalancer.ingress[].ports`. */
  export interface PortStatus {
    port: number;
    protocol: string;
    /** The reason why the load balancer does not serve the port. */
    error?: string;
  }

  /** One of `status.loadBalancer.ingress`. */
  export interface Ingress {
    ip?: string;
    hostname?: string;
    /**
     * The handling of traffic for `ip`. `VIP`: kube-proxy takes it to the Pods. `Proxy`: the load balancer does. None: the
     * object has no `ipMode`, which means `VIP`.
     */
    ipMode?: string;
    ports: PortStatus[];
  }

  export interface Status {
    loadBalancerIngress: Ingress[];
    conditions: Condition[];
  }

  export interface Service {
    metadata: Metadata;
    /** False when the object has no `spec` at all, which only raw manifests can lack. Fields of `spec` are empty then. */
    hasSpec: boolean;
    spec: Spec;
    status: Status;
  }
}

declare module 'sallyport:policy/review@0.2.0' {
  import type { Json } from 'sallyport:policy/service@0.2.0';
  export type { Json };
  import type { Pair } from 'sallyport:policy/service@0.2.0';
  export type { Pair };
  import type { Service } from 'sallyport:policy/service@0.2.0';
  export type { Service };

  /** CONNECT is never reviewed. */
  export type Operation =
    | 'create'
    | 'update'
    /**
     * Only policies whose description has it are asked, and only while a host answers: the webhook for deletions fails open.
     * Deletions by the namespace controller, by the garbage collector, of a Service in deletion, and in a namespace that is
     * in deletion or unknown to the host always pass, and no policy is asked.
     */
    | 'delete';

  /** The resource that is written: `services` or `services/status`. A write to the status can change labels and annotations, too. */
  export type Resource =
    | 'services'
    | 'services-status';

  /** The phase of admission in which the API server asks. */
  export type Phase =
    /** Before allocation and validation: defaults are set, node ports and cluster IPs are not. */
    | 'mutating'
    /** At the end: the object as it will be stored. */
    | 'validating';

  /** The user who sends the request, as the API server authenticated them. */
  export interface User {
    name: string;
    groups: string[];
    /** Set by some authenticators: a service account's is that of its object. */
    uid?: string;
    /** Further facts that the authenticator adds, by key, such as `authentication.kubernetes.io/pod-name`. Sorted by key. */
    extra: [string, string[]][];
  }

  export interface Namespace {
    name: string;
    /** At least `kubernetes.io/metadata.name`. */
    labels: Pair[];
    /** False if the host knows only the name. */
    known: boolean;
    /**
     * The annotations, for policies whose description asks for `namespace-annotations`; but not
     * `kubectl.kubernetes.io/last-applied-configuration`. None: not known, or more than 16 KiB.
     */
    annotations?: Pair[];
  }

  export type Environment =
    /** Some controller serves LoadBalancer Services without a class. */
    | 'cloud'
    /** No controller does. */
    | 'on-prem';

  /** The beginning of a `spec.providerID`. */
  export type ProviderId =
    /**
     * The text before `://`, in its own case: `aws`, `gce`, `k3s`. Hetzner's dedicated servers (`hcloud://bm-…`) count
     * as `hrobot`.
     */
    | { tag: 'scheme'; val: string }
    /** An ID without a scheme, up to its first dot: `ocid1`. */
    | { tag: 'bare'; val: string }
    /** The Node has none. */
    | { tag: 'missing' };

  /** Nodes whose providerID begins alike. */
  export interface Provider {
    id: ProviderId;
    /** The number of Nodes; at least 1. */
    nodes: number;
  }

  /** A range of ports, both ends included. */
  export interface PortRange {
    from: number;
    to: number;
  }

  /** The cluster, as far as the host knows it. */
  export interface Cluster {
    /** The operator's statement. It wins over `providers`. */
    environment?: Environment;
    /** The initialized Nodes, grouped by their `spec.providerID`. */
    providers: Provider[];
    /** `--service-node-port-range` of the API server, 30000-32767 unless the operator says otherwise. */
    nodePorts: PortRange;
  }

  export interface ContainerPort {
    name?: string;
    number: number;
  }

  export interface Pod {
    labels: Pair[];
    ports: ContainerPort[];
  }

  export interface Review {
    phase: Phase;
    operation: Operation;
    resource: Resource;
    /** True for `--dry-run=server` and `kubectl diff`: allocated ports are invented and may lie outside every range. */
    dryRun: boolean;
    user: User;
    /** The Service as it will be. On delete: the Service that is deleted. */
    service: Service;
    /** The Service before an update. None on create and delete, and where the caller of an update left it out. */
    oldService?: Service;
    /**
     * `service` as the API server sent it, every field included. Only for policies whose description asks for `raw-objects`. A
     * patch of an earlier policy is applied.
     */
    object?: Json;
    /** `old-service` as the API server sent it, for the same policies. */
    oldObject?: Json;
    namespace: Namespace;
    cluster: Cluster;
    /**
     * The Pods that `spec.selector` selects now, if the host looks Pods up and the policy's description asks for them. Pods
     * with the same labels and ports appear once. None: not known. An empty list: there are none.
     */
    selectedPods?: Pod[];
    /** The time of the request, in seconds since the Unix epoch. */
    time: bigint;
  }
}

declare module 'sallyport:policy/description@0.2.0' {
  import type { Phase } from 'sallyport:policy/review@0.2.0';
  export type { Phase };
  import type { Operation } from 'sallyport:policy/review@0.2.0';
  export type { Operation };
  import type { Resource } from 'sallyport:policy/review@0.2.0';
  export type { Resource };

  /** A text of the review that its writer is free to choose. In keys, `*` stands for any characters, and case does not matter. */
  export type Compared =
    /** The value of annotations with this key. */
    | { tag: 'annotation'; val: string }
    /** The value of labels with this key: of the Service, its selector and the selected Pods. */
    | { tag: 'label'; val: string }
    /** The value of the namespace's labels with this key. */
    | { tag: 'namespace-label'; val: string }
    /** The value of the namespace's annotations with this key. */
    | { tag: 'namespace-annotation'; val: string }
    /** `spec.externalName`. */
    | { tag: 'external-name' }
    /** `review.user`: the name and the groups. */
    | { tag: 'user' }
    /** `review.user.uid`. */
    | { tag: 'user-uid' }
    /** The values of `review.user.extra` with this key. */
    | { tag: 'user-extra'; val: string }
    /** `status.conditions[].message`. */
    | { tag: 'condition-messages' };

  /** Properties of a Service. */
  export interface About {
    /** No `spec.type`, which only raw manifests can lack. */
    typeUnset?: boolean;
    /** `spec.type: ClusterIP`, or none. */
    clusterIp?: boolean;
    /** `spec.type: NodePort`. */
    nodePort?: boolean;
    /** `spec.type: LoadBalancer`. */
    loadBalancer?: boolean;
    /** `spec.type: ExternalName`. */
    externalName?: boolean;
    /** A `nodePort` on some port, or `healthCheckNodePort`, whatever the type. */
    nodePorts?: boolean;
    /** `spec.externalIPs`. */
    externalIps?: boolean;
    /** `spec.externalName`, whatever the type. */
    alias?: boolean;
    /**
     * Any of `loadBalancerClass`, `loadBalancerIP`, `loadBalancerSourceRanges`, `allocateLoadBalancerNodePorts` and
     * `externalTrafficPolicy`, whatever the type.
     */
    loadBalancerFields?: boolean;
    /** No selector. */
    selectorless?: boolean;
    /** Annotations. */
    annotations?: boolean;
    /** Other labels than before the update. */
    changedLabels?: boolean;
    /** An annotation with a key that the policy compares (`compares`). */
    comparedAnnotations?: boolean;
    /** A label of the Service with a key that the policy compares. */
    comparedLabels?: boolean;
  }

  export type Context =
    /** `review.namespace.labels` beyond the name. */
    | 'namespace'
    /** `review.namespace.annotations`. */
    | 'namespace-annotations'
    /** `review.cluster`. */
    | 'cluster'
    /** `review.selected-pods`. */
    | 'pods'
    /**
     * `review.object` and `review.old-object`: for fields that `review.service` does not have. The policy parses them in each
     * evaluation. What it reads there is compared as well (`compares`); a host that records reviews hashes unknown fields.
     */
    | 'raw-objects';

  export interface Description {
    /** The name in messages: `nodeport-range`. Lower-case letters, digits and `-`, at most 63 characters. */
    name: string;
    /** The policy's semantic version. */
    version: string;
    /**
     * The requests that the policy is asked about: these phases, operations and resources, and no others. A deletion is asked
     * about in the validating phase alone.
     */
    phases: Phase[];
    operations: Operation[];
    resources: Resource[];
    /** The context that the policy needs beside the Service. The host leaves the rest empty. */
    context: Context[];
    /**
     * The Services that the policy is asked about: those that have at least one of these properties, or had it before the
     * update. No flag at all means every Service. The harness asks about the others, too, and reports a verdict that is not
     * empty as an error.
     */
    about: About;
    /**
     * The free-form texts that verdicts depend on. A host that records reviews keeps these and hashes all others, and
     * `sallyport replay` gives no verdict for a policy that compares a text which was hashed.
     */
    compares: Compared[];
  }
}

declare module 'sallyport:policy/verdict@0.2.0' {
  import type { Json } from 'sallyport:policy/service@0.2.0';
  export type { Json };
  import type { Pair } from 'sallyport:policy/service@0.2.0';
  export type { Pair };

  /** One offence against a rule. The host renders it as `[policy] field: message; fix`. */
  export interface Violation {
    /** The rule's stable id, such as `S02`. */
    rule: string;
    /**
     * Names the offence independent of its index, with type and value: `NodePort:TCP:30022`. An update may keep an
     * offence whose rule and key the old object has too. Empty: it may not.
     */
    key: string;
    /** JSON path from the Service's root: `spec.ports[1].nodePort`. */
    field: string;
    /** The value found and what is allowed: `29999 is outside 30000-32767`. */
    message: string;
    /** The fix, as an imperative: `remove the field or use 30000-30085`. May be empty. */
    fix: string;
  }

  export interface PatchValue {
    path: string;
    value: Json;
  }

  /** An operation of RFC 6902. Paths are JSON Pointers (RFC 6901: `~` is `~0`, `/` is `~1`). */
  export type PatchOperation =
    /** Adds or replaces a member of a map that exists. */
    | { tag: 'add'; val: PatchValue }
    /** Replaces a value that exists. */
    | { tag: 'replace'; val: PatchValue }
    /** Removes a value that exists. */
    | { tag: 'remove'; val: string };

  /** The result of both `validate` and `mutate`. Empty: no objection, no change. */
  export interface Verdict {
    /** From `validate` alone: `mutate` improves an object or leaves it alone, and never denies it. */
    violations: Violation[];
    /** Shown to the client of an allowed request. API servers cut a warning after about 256 characters. */
    warnings: string[];
    /** For the API server's audit log. Keys are a qualified name's last part: letters, digits, `-`, `_`, `.`. */
    auditAnnotations: Pair[];
    /**
     * From `mutate` alone. Applied in order, all or none; may touch `/spec`, `/metadata/labels` and `/metadata/annotations`.
     * Sending the patched object again must give no patch.
     */
    patch: PatchOperation[];
  }

  /** A reason why a policy refuses its settings. */
  export interface SettingsError {
    /** Path from the settings' root, as the manifest spells it: `ranges[0].from`. */
    path: string;
    /** The value found, what is allowed, and the fix. */
    message: string;
  }
}

declare module 'sallyport:policy/policy@0.2.0' {
  import type { Description } from 'sallyport:policy/description@0.2.0';
  export type { Description };
  import type { Review } from 'sallyport:policy/review@0.2.0';
  export type { Review };
  import type { Verdict } from 'sallyport:policy/verdict@0.2.0';
  export type { Verdict };

  /** The exports of every policy. */
  export interface Policy {
    /**
     * Describes the policy. Called when the component is loaded, before `configure` and, if there is one, after it; the last
     * answer counts.
     */
    describe(): Description;
    /** Judges the object. */
    validate(review: Review): Verdict;
    /** Patches the object. Called in the mutating phase, and only on policies in mode Enforce. */
    mutate(review: Review): Verdict;
  }
}
