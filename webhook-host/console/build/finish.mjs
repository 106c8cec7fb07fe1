// Puts the hash of the frame's script into its Content-Security-Policy, fails where a file of the page would ask another host, and
// compresses the first load, all files but the transpiler's, into embedded/, which webhook-host/build.rs makes a part of the program.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, gzip } from 'node:zlib';

const out = resolve(import.meta.dirname, '../../../target/console');
const embedded = resolve(import.meta.dirname, '../embedded');
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
const filesOf = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
const names = filesOf(out).filter((name) => !ON_DEMAND.test(name));
const sizes = await Promise.all(
  names.map(async (name) => {
    const bytes = readFileSync(join(out, name));
    const [brotli, gzipped] = await Promise.all([promisify(brotliCompress)(bytes), promisify(gzip)(bytes)]);
    embed(`${name}.br`, brotli);
    return { name, brotli: brotli.length, gzip: gzipped.length };
  }),
);
for (const stale of filesOf(embedded)) {
  if (stale.endsWith('.br') && !names.includes(stale.slice(0, -3))) rmSync(join(embedded, stale));
}
const kb = (bytes) => Math.round(bytes / 1000);
const total = (key) => kb(sizes.reduce((sum, size) => sum + size[key], 0));
const parts = sizes.toSorted((a, b) => b.brotli - a.brotli).map(({ name, brotli }) => `${name} ${kb(brotli)}`);
console.error(`sallyport: first load ${total('brotli')} kB with brotli, ${total('gzip')} kB with gzip; with brotli: ${parts.join(', ')}`);

// Writes a file unless it is there already: cargo builds the program anew when one changes.
function embed(name, bytes) {
  const file = join(embedded, name);
  if (existsSync(file) && readFileSync(file).equals(bytes)) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}
