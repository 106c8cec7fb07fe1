// Stands in for the host in tests of plain JavaScript: the policy's log lines are printed.

import { register } from 'node:module';

const log = "export function log(level, message) { console.log(level + ': ' + message); }";
const module = (text) => `data:text/javascript,${encodeURIComponent(text)}`;

register(
  module(`export async function resolve(specifier, context, next) {
    if (!specifier.startsWith('sallyport:policy/log@')) return next(specifier, context);
    return { url: ${JSON.stringify(module(log))}, shortCircuit: true };
  }`),
);
