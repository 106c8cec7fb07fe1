// Puts the hash of the frame's script into its Content-Security-Policy, and fails where a file of the page would ask another host.

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

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
