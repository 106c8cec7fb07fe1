// What `kubectl apply -f service.yaml` would print.

import type { Answer, AppliedService } from './messages';

/** Returns the lines, standard output and standard error together. */
export function kubectl(answer: Answer): string {
  const unread = answer.problems.filter(({ input }) => input === 'objects').map(({ message }) => `error: service.yaml: ${message}`);
  const lines = answer.applied.flatMap((applied) => {
    const subject = answer.subjects.find(({ line, service }) => line === applied.line && service !== null);
    const refused = subject?.findings.filter(({ policy, level }) => policy === 'kubernetes' && level === 'error') ?? [];
    if (refused.length) {
      const problems = refused.map(({ field, message }) => `${field}: ${message.replace('the API server would refuse this: ', '')}`);
      return [`The Service "${nameOf(applied)}" is invalid: ${problems.join(', ')}`];
    }
    return answered(applied);
  });
  return [...unread, ...lines].join('\n');
}

function answered(applied: AppliedService): string[] {
  const name = nameOf(applied);
  const warnings = applied.warnings.map((warning) => `Warning: ${warning}`);
  if (applied.allowed) return [...warnings, `service/${name} ${applied.old ? 'configured' : 'created'}`];
  const what = applied.old ? 'error when patching' : 'error when creating';
  const why = `admission webhook "validate.sallyport.dev" denied the request: ${applied.denial}`;
  return [...warnings, `Error from server (${applied.reason}): ${what} "service.yaml": ${why}`];
}

function nameOf({ service }: AppliedService): string {
  return service.slice(service.indexOf('/') + 1);
}
