// Every Service carries the labels that the settings require (X01).
//
// The host calls exports_policy_configure once and takes its snapshot afterwards: what it keeps is in place in every review.

#include "sallyport.h"

static policy_settings_t settings;

void exports_policy_describe(exports_policy_description_t *description) {
  static review_phase_t phases[] = {REVIEW_PHASE_VALIDATING};
  static review_operation_t operations[] = {REVIEW_OPERATION_CREATE, REVIEW_OPERATION_UPDATE};
  static review_resource_t resources[] = {REVIEW_RESOURCE_SERVICES};
  *description = (exports_policy_description_t){
      .name = TEXT("{{name}}"),
      .version = TEXT("0.1.0"),
      .phases = {phases, 1},
      .operations = {operations, 2},
      .resources = {resources, 1},
      // No flag is set: it is asked about every Service.
      .about = 0,
  };
}

// The settings that the manifest's are laid over.
void exports_policy_defaults(policy_settings_t *defaults) {
  *defaults = (policy_settings_t){0};
  PUSH(defaults->required_labels, TEXT("team"));
}

// Returns false with all settings that can't be used.
bool exports_policy_configure(policy_settings_t *given, policy_list_settings_error_t *errors) {
  *errors = (policy_list_settings_error_t){0};
  for (size_t i = 0; i < given->required_labels.len; i++) {
    if (given->required_labels.ptr[i].len > 0) continue;
    PUSH(*errors, (policy_settings_error_t){
        .path = CONCAT(TEXT("requiredLabels["), decimal(i), TEXT("]")),
        .message = TEXT("empty; name a label, such as team"),
    });
  }
  settings = *given;
  return errors->len == 0;
}

void exports_policy_validate(exports_policy_review_t *review, exports_policy_verdict_t *verdict) {
  *verdict = (exports_policy_verdict_t){0};
  for (size_t i = 0; i < settings.required_labels.len; i++) {
    policy_string_t label = settings.required_labels.ptr[i];
    if (VALUE_OF(review->service.metadata.labels, label)) continue;
    PUSH(verdict->violations, (verdict_violation_t){
        .rule = TEXT("X01"),
        // Under this key an update may keep what was missing before.
        .key = label,
        .field = TEXT("metadata.labels"),
        .message = CONCAT(TEXT("the label "), quote(label), TEXT(" is missing")),
        .fix = TEXT("add it"),
    });
  }
}

// Patches nothing. It is called only if the description has the phase REVIEW_PHASE_MUTATING.
void exports_policy_mutate(exports_policy_review_t *review, exports_policy_verdict_t *verdict) {
  (void)review;
  *verdict = (exports_policy_verdict_t){0};
}
