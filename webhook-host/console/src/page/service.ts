// The fields of a Service that the page reads.

/** A v1 Service, as a user wrote it: each field may be missing. */
export interface Service {
  metadata?: { name?: string; namespace?: string };
  spec?: {
    type?: string;
    ports?: { name?: string; port?: number; nodePort?: number; protocol?: string; targetPort?: number | string }[];
  };
}
