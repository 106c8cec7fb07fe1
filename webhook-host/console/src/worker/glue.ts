// The JavaScript that jco made of the components, as build/components.mjs stores it: each line once.

/** One component: where its core modules lie in its file, and which lines its JavaScript has. */
export interface StoredGlue {
  cores: Record<string, [offset: number, length: number]>;
  runs: [first: number, count: number][];
}

/** The file glue.json. */
export interface GlueFile {
  lines: string;
  components: Record<string, StoredGlue>;
}

/** Returns the text of a component's JavaScript. */
export function glueText(lines: string[], stored: StoredGlue): string {
  return stored.runs.map(([first, count]) => lines.slice(first, first + count).join('\n')).join('\n');
}
