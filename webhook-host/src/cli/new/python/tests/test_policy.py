import unittest

import policy
from componentize_py_types import Err
from wit_world import Settings

from .reviews import review, service


def validate(of, required=("team",)):
    policy.WitWorld().configure(Settings(required_labels=list(required)))
    return policy.Policy().validate(review(of))


class RequiredLabels(unittest.TestCase):
    def test_a_service_with_the_label_is_allowed(self):
        self.assertEqual(validate(service(labels=[("team", "a")])).violations, [])

    def test_each_missing_label_is_a_violation(self):
        found = validate(service(labels=[("team", "a")]), required=["team", "tier", "stage"])
        self.assertEqual([violation.key for violation in found.violations], ["tier", "stage"])
        self.assertEqual(found.violations[0].message, 'the label "tier" is missing')

    def test_an_empty_label_is_no_setting(self):
        with self.assertRaises(Err) as refused:
            policy.WitWorld().configure(Settings(required_labels=["team", ""]))
        self.assertEqual([error.path for error in refused.exception.value], ["requiredLabels[1]"])
