// Exports what is shown as a suite, which `sallyport test` passes: the expectations are the engine's own answers.

import type { Answer } from './messages';
import type { State } from './share';

/** Files to save, by name. `answers` asks the engine for the answers to a suite. */
export async function suite(
  state: State,
  answer: Answer,
  answers: (request: string) => Promise<string>,
): Promise<Record<string, string>> {
  const cases = answer.applied.map(({ service, object, old, allowed, line }) => ({
    name: `${service} (line ${line}) is ${allowed ? 'allowed' : 'denied'}`,
    object,
    ...(old ? { oldObject: old } : {}),
    user: state.user,
    expect: { allowed } as unknown,
  }));
  const { inventory, exemptions } = answer.config;
  const make = () =>
    JSON.stringify(
      {
        apiVersion: 'sallyport.dev/v1alpha1',
        kind: 'Suite',
        metadata: { name: 'playground' },
        spec: { policy: { set: 'policies.yaml' }, inventory, exemptions, cases },
      },
      null,
      2,
    );
  const files = () => ({ 'policies.yaml': state.policies, 'suite.yaml': make() });
  const got = JSON.parse(await answers(JSON.stringify({ files: files(), suite: 'suite.yaml' })));
  cases.forEach((it, index) => {
    it.expect = got[index].got;
  });
  return files();
}
