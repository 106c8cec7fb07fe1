// Tests of the rule in what tsc makes of policy.ts, without the component: `make unit`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configure, policy } from '../build/policy.js';
import { review, service } from './reviews.mjs';

function validate(of, requiredLabels = ['team']) {
  configure({ requiredLabels });
  return policy.validate(review(of));
}

test('a Service with the label is allowed', () => {
  assert.deepEqual(validate(service({ labels: [['team', 'a']] })).violations, []);
});

test('each missing label is a violation', () => {
  const { violations } = validate(service({ labels: [['team', 'a']] }), ['team', 'tier', 'stage']);
  assert.deepEqual(violations.map(({ key }) => key), ['tier', 'stage']);
  assert.equal(violations[0].message, 'the label "tier" is missing');
});

test('an empty label is no setting', () => {
  assert.throws(
    () => configure({ requiredLabels: ['team', ''] }),
    (errors) => errors.length === 1 && errors[0].path === 'requiredLabels[1]',
  );
});
