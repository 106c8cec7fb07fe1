// Builds the worker of the sandboxed frame as one script, whose text the page hands to the frame; and as a module, for the tests.

import { defineConfig } from 'vite';

export default defineConfig({
  publicDir: false,
  build: {
    target: 'es2022',
    outDir: '../../target/console-build/worker',
    lib: { entry: 'src/worker/main.ts', name: 'worker', formats: ['es', 'iife'], fileName: (format) => (format === 'es' ? 'module.mjs' : 'worker.js') },
  },
  logLevel: 'warn',
});
