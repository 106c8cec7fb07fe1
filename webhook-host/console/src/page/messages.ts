// The messages between the page and the engine. Made of the types in engine/src/messages.rs; not to
// be changed. `WRITE_TYPES=1 cargo test --workspace --test all console_types` makes it anew.

import type { Service } from './service';

/** A question to `check`: the content of the page's editors. */
export type Request = {
  /** Manifests, any number of documents. */
  objects: string,
  /** The Services before an update. */
  old: string,
  /** ServicePolicy manifests. */
  policies: string,
  /** A HostConfig; empty for the host's default. */
  config: string,
  /** The user who applies the manifests. */
  user: Person,
  /** Milliseconds since the Unix epoch. */
  now: number,
};

/** The user of a request. */
export type Person = {
  /** The name. */
  username: string,
  /** The groups. */
  groups: Array<string>,
};

/** The answer of `recorded`: the editors' content for a recorded review. */
export type Recorded = {
  /** The object; empty for a deletion. */
  objects: string,
  /** The object before an update; empty where there is none. */
  old: string,
  /** The user who sent the request. */
  user: Person,
};

/** The answer of `check`. */
export type Answer = {
  /** Faults of the input. */
  problems: Array<Problem>,
  /** The findings about each Service, as `sallyport check --output json` has them. */
  subjects: Array<Subject>,
  /** The answers of the API server, in the order of the Services. */
  applied: Array<AppliedService>,
  /** The policies that were loaded. */
  policies: Array<LoadedPolicy>,
  /** The number of objects of other kinds. */
  ignored: number,
  /** The facts of the HostConfig. */
  config: Configuration,
};

/** A fault of the input. */
export type Problem = {
  /** The field of the request that has it. */
  input: Input,
  /** The line, from 1. */
  line: number,
  /** The text for people. */
  message: string,
  /** The only policy that it keeps from being asked; null if it is about the whole text. */
  policy: string | null,
};

/** A field of a request that is a text of YAML. */
export type Input = "objects" | "old" | "policies" | "config";

/** A Service, or a file that can't be read. */
export type Subject = {
  /** The file as it was named, `<stdin>` for standard input. */
  file: string,
  /** The line at which it begins, from 1. */
  line: number,
  /** `namespace/name`; `None` for a file that can't be read. */
  service: string | null,
  /** The policies that were asked. */
  policies: Array<string>,
  /** Its findings, those of the mutating phase first. */
  findings: Array<Finding>,
  /** The patch that `/mutate` would make. */
  patch: unknown[],
};

/** One finding. */
export type Finding = {
  /** Its severity. */
  level: Level,
  /** The policy that says so; empty for the host. */
  policy: string,
  /** Such as `S02`; empty where no rule is concerned. */
  rule: string,
  /** JSON path from the Service's root; empty for the whole. */
  field: string,
  /** The value found and what is allowed. */
  message: string,
  /** The fix; may be empty. */
  fix: string,
  /** The line of the field, from 1. */
  line: number,
};

/** The severity of a finding. */
export type Level = "unjudged" | "error" | "warning" | "note";

/** The answer that a client of the API server gets for a Service. */
export type AppliedService = {
  /** `namespace/name`. */
  service: string,
  /** The line at which it begins, from 1. */
  line: number,
  /** True if the Service is stored. */
  allowed: boolean,
  /** True if the API server itself refuses it, whatever the policies say. */
  rejected: boolean,
  /** The lines that `kubectl apply` prints. */
  printed: string,
  /** True if these lines are those of the real programs, word by word. */
  verbatim: boolean,
  /** The object with the API server's defaults, before any patch, as YAML. */
  defaulted: string,
  /** The object as it would be stored, or as it was denied, as YAML. */
  stored: string,
  /** The object as it was judged, with managedFields. */
  object: Service,
  /** The object that it replaces; null for a new one. */
  old: Service | null,
  /** The answer to this Service if it were new and had each of the types. */
  types: Array<TypeAnswer>,
};

/** The answer to a Service if it had a type. */
export type TypeAnswer = {
  /** The type. */
  type: string,
  /** True if the Service would be stored. */
  allowed: boolean,
  /** The reasons of a refusal, those of the API server itself first. */
  reasons: Array<string>,
  /** The fields that were left out, with their values, because the type does not allow them. */
  leftOut: Array<string>,
};

/** A policy of the request. */
export type LoadedPolicy = {
  /** The name of its manifest. */
  name: string,
  /** `Enforce`, `Warn` or `Audit`. */
  mode: string,
  /** The line at which its manifest begins, from 1. */
  line: number,
  /** The digest of its component; null if it could not be loaded. */
  digest: string | null,
  /** The version in its own description. */
  version: string | null,
  /** The reason why it could not be loaded. */
  problem: string | null,
  /** The purpose of the policy, by its own documentation. */
  purpose: string | null,
  /** The text of each rule, by its name. */
  rules: { [key in string]: string },
};

/** The facts of the HostConfig, as suites write them. */
export type Configuration = {
  /** The cluster. */
  cluster: Cluster,
  /** The inventory, without the facts that no policy asks for. */
  inventory: unknown,
  /** The exemptions. */
  exemptions: unknown,
};

/** The facts about the cluster that the page explains. */
export type Cluster = {
  /** The kind of cluster; null where its Nodes decide. */
  environment: EnvironmentData | null,
  /** The ports that the API server allocates node ports from. */
  nodePorts: PortRangeData,
};

/** The kind of cluster, as its operator states it. */
export type EnvironmentData = "cloud" | "onPrem";

/** A range of ports with both ends included, within 1 to 65535. */
export type PortRangeData = {
  /** The first port. */
  from: number,
  /** The last port. */
  to: number,
};
