// Puts the hash of the frame's script into its Content-Security-Policy, fails where a file of the page would ask another host, and prints
// the size of the first load: all files but the transpiler's.

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';

const out = resolve(import.meta.dirname, '../../../target/console');
const frame = join(out, 'frame.html');
const text = readFileSync(frame, 'utf8');
const [, script] = text.match(/<script>([^]*)<\/script>/);
writeFileSync(frame, text.replace('HASH', `sha256-${createHash('sha256').update(script).digest('base64')}`));

for (const file of ['index.html', 'frame.html', ...readdirSync(join(out, 'assets')).map((name) => `assets/${name}`)]) {
  if (!/\.(html|css)$/.test(file)) continue;
  const foreign = readFileSync(join(out, file), 'utf8').match(/(src|href)="(https?:)?\/\/[^"]*"|url\((https?:)?\/\/[^)]*\)/);
  if (foreign) throw new Error(`${file} asks another host: ${foreign[0]}`);
}

const ON_DEMAND = /transpiler|bindgen|browser-external/;
const names = readdirSync(out, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !ON_DEMAND.test(entry.name))
  .map((entry) => join(entry.parentPath, entry.name));
const sizes = await Promise.all(
  names.map(async (name) => {
    const bytes = readFileSync(name);
    const [brotli, gzipped] = await Promise.all([promisify(brotliCompress)(bytes), promisify(gzip)(bytes)]);
    return { name: relative(out, name), brotli: brotli.length, gzip: gzipped.length };
  }),
);
const kb = (bytes) => Math.round(bytes / 1000);
const total = (key) => kb(sizes.reduce((sum, size) => sum + size[key], 0));
const parts = sizes.toSorted((a, b) => b.brotli - a.brotli).map(({ name, brotli }) => `${name} ${kb(brotli)}`);
console.error(`sallyport: first load ${total('brotli')} kB with brotli, ${total('gzip')} kB with gzip; with brotli: ${parts.join(', ')}`);
