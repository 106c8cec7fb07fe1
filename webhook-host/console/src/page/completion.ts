// Completion of keys and words in YAML, from a JSON Schema. Knows block style, as manifests have it: the path of the cursor follows from
// the indentation of the lines above.

import type { CompletionContext, CompletionResult } from '@codemirror/autocomplete';

/** The parts of JSON Schema that completion reads. */
export interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  type?: string | string[];
  description?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
}

/** Returns the source of completions for the schema of the document that begins with these lines. */
export function completions(schemaOf: (document: string[]) => Schema | undefined) {
  return (context: CompletionContext): CompletionResult | null => {
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const lines = context.state.doc.sliceString(0, line.from).split('\n').slice(0, -1);
    const start = lines.lastIndexOf('---') + 1;
    const document = lines.slice(start);
    const root = schemaOf([...document, line.text, ...context.state.doc.sliceString(line.to).split(/^---$/m)[0].split('\n')]);
    if (!root) return null;
    const value = before.match(/^(\s*(?:- )*)([\w./-]+):\s+(\S*)$/);
    const key = before.match(/^(\s*(?:- )*)([\w./-]*)$/);
    if (value) {
      const schema = at(root, [...path(document, value[1].length), value[2]]);
      if (!schema) return null;
      return { from: context.pos - value[3].length, options: wordsOf(root, schema).map((label) => ({ label, type: 'enum' })) };
    }
    if (!key || (!context.explicit && key[2] === '')) return null;
    const schema = at(root, path(document, key[1].length, key[1].includes('- ')));
    if (!schema) return null;
    const options = Object.entries(propertiesOf(root, schema)).map(([label, property]) => ({
      label,
      type: 'property',
      apply: `${label}: `,
      info: resolved(root, property).description || undefined,
    }));
    return { from: context.pos - key[2].length, options, validFor: /^[\w./-]*$/ };
  };
}

/** The keys above a line with this indentation; `-` for an item of a list. */
function path(lines: string[], indent: number, inItem = false): string[] {
  const found: string[] = inItem ? ['-'] : [];
  let limit = inItem ? indent - 2 : indent;
  let open = inItem;
  for (const text of lines.toReversed()) {
    const match = text.match(/^(\s*)((?:- )*)([\w./-]+):(\s|$)/);
    if (!match) continue;
    const own = match[1].length + match[2].length;
    // A list may stand at the indentation of its key.
    const isParent = own < limit || (open && own === limit && !match[2]);
    if (match[2] && own === limit && !open) {
      found.unshift('-');
      limit = match[1].length;
      open = true;
    } else if (isParent) {
      found.unshift(match[3]);
      limit = own;
      open = false;
      if (match[2]) {
        found.unshift('-');
        limit = match[1].length;
        open = true;
      }
    }
  }
  return found;
}

function at(root: Schema, path: string[]): Schema | undefined {
  let schema: Schema | undefined = root;
  for (const step of path) {
    const options: Schema[] = schema ? alternatives(root, schema) : [];
    schema = undefined;
    for (const option of options) {
      const found = step === '-' ? option.items : (option.properties?.[step] ?? option.additionalProperties);
      if (typeof found === 'object') {
        schema = found;
        break;
      }
    }
  }
  return schema;
}

function resolved(root: Schema, schema: Schema): Schema {
  const name = schema.$ref?.replace('#/$defs/', '');
  const target = name === undefined ? undefined : root.$defs?.[name];
  return target ? { ...target, description: schema.description ?? target.description } : schema;
}

/** The schema itself, and what it is composed of. */
function alternatives(root: Schema, schema: Schema, depth = 0): Schema[] {
  const own = resolved(root, schema);
  if (depth > 8) return [own];
  const parts = [...(own.anyOf ?? []), ...(own.oneOf ?? []), ...(own.allOf ?? [])];
  return [own, ...parts.flatMap((part) => alternatives(root, part, depth + 1))];
}

function propertiesOf(root: Schema, schema: Schema): Record<string, Schema> {
  return Object.assign({}, ...alternatives(root, schema).map((option) => option.properties ?? {}));
}

function wordsOf(root: Schema, schema: Schema): string[] {
  const words = alternatives(root, schema).flatMap((option) => {
    if (option.enum) return option.enum;
    if (option.const !== undefined) return [option.const];
    return option.type === 'boolean' ? ['true', 'false'] : [];
  });
  return [...new Set(words.filter((word) => word !== null).map(String))];
}
