// The engine's answer, as engine/src/check.rs writes it.

export interface Finding {
  level: 'unjudged' | 'error' | 'warning' | 'note';
  policy: string;
  rule: string;
  field: string;
  message: string;
  fix: string;
  line: number;
}

export interface Subject {
  line: number;
  service: string | null;
  policies: string[];
  findings: Finding[];
  patch: unknown[];
}

export interface Applied {
  service: string;
  line: number;
  allowed: boolean;
  denial: string | null;
  reason: string | null;
  warnings: string[];
  old: unknown;
  defaulted: string;
  stored: string;
  object: Service;
  types: { type: string; allowed: boolean; denial: string | null }[];
}

export interface Service {
  metadata?: { name?: string; namespace?: string };
  spec?: {
    type?: string;
    clusterIP?: string;
    ports?: { name?: string; port?: number; nodePort?: number; protocol?: string; targetPort?: number | string }[];
    externalName?: string;
    sessionAffinity?: string;
    externalTrafficPolicy?: string;
  };
}

export interface Problem {
  input: 'objects' | 'old' | 'policies' | 'config';
  line: number;
  message: string;
}

export interface LoadedPolicy {
  name: string;
  mode: string;
  line: number;
  digest: string | null;
  version: string | null;
  problem: string | null;
}

export interface Answer {
  problems: Problem[];
  subjects: Subject[];
  applied: Applied[];
  policies: LoadedPolicy[];
  ignored: number;
  config: { inventory?: unknown; exemptions?: unknown; cluster?: { environment?: string; nodePorts?: { from: number; to: number } } };
}
