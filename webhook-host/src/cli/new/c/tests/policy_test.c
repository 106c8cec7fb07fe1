// Tests policy.c as a program of this machine, without the component: `make unit`.

#include "sallyport.h"
#include <assert.h>
#include <stdio.h>

// Stands in for the host.
void log_log(log_level_t level, policy_string_t *message) {
  printf("%d: %.*s\n", level, (int)message->len, (const char *)message->ptr);
}

static exports_policy_verdict_t validate(const policy_string_t *required, size_t count, const char *label) {
  policy_settings_t settings = {0};
  for (size_t i = 0; i < count; i++) PUSH(settings.required_labels, required[i]);
  policy_list_settings_error_t errors;
  assert(exports_policy_configure(&settings, &errors));

  exports_policy_review_t review = {0};
  service_pair_t pair = {{(uint8_t *)label, strlen(label)}, TEXT("a")};
  if (*label) PUSH(review.service.metadata.labels, pair);
  exports_policy_verdict_t verdict;
  exports_policy_validate(&review, &verdict);
  return verdict;
}

static void a_service_with_the_label_is_allowed(void) {
  assert(validate(&TEXT("team"), 1, "team").violations.len == 0);
}

static void each_missing_label_is_a_violation(void) {
  policy_string_t required[] = {TEXT("team"), TEXT("tier"), TEXT("stage")};
  exports_policy_verdict_t verdict = validate(required, 3, "team");
  assert(verdict.violations.len == 2);
  assert(same(verdict.violations.ptr[1].key, TEXT("stage")));
  assert(same(verdict.violations.ptr[0].message, TEXT("the label \"tier\" is missing")));
}

static void an_empty_label_is_no_setting(void) {
  policy_settings_t settings = {0};
  PUSH(settings.required_labels, TEXT("team"));
  PUSH(settings.required_labels, TEXT(""));
  policy_list_settings_error_t errors;
  assert(!exports_policy_configure(&settings, &errors));
  assert(errors.len == 1);
  assert(same(errors.ptr[0].path, TEXT("requiredLabels[1]")));
}

int main(void) {
  a_service_with_the_label_is_allowed();
  each_missing_label_is_a_violation();
  an_empty_label_is_no_setting();
  puts("policy_test.c: passed");
}
