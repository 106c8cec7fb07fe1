// Optimises a core module for size with binaryen. LLVM's "z" leaves a tenth of what binaryen finds.

import binaryen from 'binaryen';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

// The modules that jco makes itself are smaller, and not worth it.
const SMALL = 64 << 10;

// Returns a module that does the same. It takes most of a minute, so the last one is kept below `aside`.
export function optimized(module, aside) {
  if (module.length < SMALL) return module;
  const kept = join(aside, 'optimized');
  const file = join(kept, `${createHash('sha256').update(module).digest('hex')}.wasm`);
  if (existsSync(file)) return readFileSync(file);
  const parsed = binaryen.readBinary(module);
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(2);
  parsed.optimize();
  const bytes = Buffer.from(parsed.emitBinary());
  parsed.dispose();
  rmSync(kept, { recursive: true, force: true });
  mkdirSync(kept, { recursive: true });
  writeFileSync(file, bytes);
  return bytes;
}
