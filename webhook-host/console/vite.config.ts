// Builds the page into target/console, a folder for any static server. What build/components.mjs and the worker's build made is copied
// beside it.

import { cpSync } from 'node:fs';
import { resolve } from 'node:path';
import { defineConfig } from 'vite';

const target = resolve(import.meta.dirname, '../../target');

export default defineConfig({
  // Relative, so that the folder works below any path.
  base: './',
  build: {
    target: 'es2022',
    outDir: resolve(target, 'console'),
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
  },
  worker: { format: 'es' },
  logLevel: 'warn',
  plugins: [
    {
      name: 'components',
      closeBundle: () => {
        cpSync(resolve(target, 'console-build/public'), resolve(target, 'console'), { recursive: true });
        cpSync(resolve(target, 'console-build/worker/worker.js'), resolve(target, 'console/worker.js'));
      },
    },
  ],
});
