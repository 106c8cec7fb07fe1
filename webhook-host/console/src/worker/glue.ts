// The JavaScript that jco made of the components, as build/components.mjs stores it: each line once.

/** A part of a file. */
export type Place = [offset: number, length: number];

/** One component: the file that it lies in, where its core modules lie in it, and which lines its JavaScript has. */
export interface StoredGlue {
  within: string;
  place: Place;
  cores: Record<string, Place>;
  runs: [first: number, count: number][];
}

/** The file glue.json. */
export interface GlueFile {
  lines: string;
  components: Record<string, StoredGlue>;
}

/** Cuts out a part. */
export function cut(bytes: Uint8Array, [offset, length]: Place): Uint8Array {
  return bytes.subarray(offset, offset + length);
}

/** Returns the text of a component's JavaScript. */
export function glueText(lines: string[], stored: StoredGlue): string {
  return stored.runs.map(([first, count]) => lines.slice(first, first + count).join('\n')).join('\n');
}
