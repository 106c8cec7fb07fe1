// The policy owner-label (X02, X03) in C. Its Rust twin is tests/guests/owner-label.

#include "sallyport.h"

static policy_settings_t settings;
static bool configured;

void exports_policy_describe(exports_policy_description_t *description) {
  static review_phase_t phases[] = {REVIEW_PHASE_VALIDATING, REVIEW_PHASE_MUTATING};
  static review_operation_t operations[] = {REVIEW_OPERATION_CREATE, REVIEW_OPERATION_UPDATE};
  static review_resource_t resources[] = {REVIEW_RESOURCE_SERVICES};
  static description_context_t context[] = {DESCRIPTION_CONTEXT_NAMESPACE};
  *description = (exports_policy_description_t){
      .name = TEXT("owner-label"),
      .version = TEXT("0.1.0"),
      .phases = {phases, 2},
      .operations = {operations, 2},
      .resources = {resources, 1},
      .context = {context, 1},
  };
  if (!configured) return;
  description_compared_t label = {.tag = DESCRIPTION_COMPARED_LABEL, .val.label = settings.label};
  PUSH(description->compares, label);
  label.tag = DESCRIPTION_COMPARED_NAMESPACE_LABEL;
  PUSH(description->compares, label);
}

void exports_policy_defaults(policy_settings_t *defaults) {
  *defaults = (policy_settings_t){.label = TEXT("owner")};
  for (service_service_type_t type = 0; type <= SERVICE_SERVICE_TYPE_EXTERNAL_NAME; type++) PUSH(defaults->types, type);
}

bool exports_policy_configure(policy_settings_t *given, policy_list_settings_error_t *errors) {
  *errors = (policy_list_settings_error_t){0};
#define PROBLEM(where, what) PUSH(*errors, (policy_settings_error_t){.path = where, .message = TEXT(what)})
  if (given->label.len == 0) PROBLEM(TEXT("label"), "empty; name the key of a label, such as owner");
  if (given->types.len == 0) {
    PROBLEM(TEXT("types"), "an empty list leaves no Service to judge; name at least one type");
  }
  for (size_t i = 0; i < given->owners.len; i++) {
    if (given->owners.ptr[i].f1.len > 0) continue;
    PROBLEM(CONCAT(TEXT("owners["), quote(given->owners.ptr[i].f0), TEXT("]")), "empty; name an owner");
  }
  if (given->max_length.is_some && given->max_length.val == 0) {
    PROBLEM(TEXT("maxLength"), "0 allows no owner; leave it out, or use at least 1");
  }
#undef PROBLEM
  settings = *given;
  configured = errors->len == 0;
  return configured;
}

static bool concerns(const service_service_t *service) {
  service_service_type_t type = service->spec.type.is_some ? service->spec.type.val : SERVICE_SERVICE_TYPE_CLUSTER_IP;
  for (size_t i = 0; i < settings.types.len; i++) {
    if (settings.types.ptr[i] == type) return true;
  }
  return false;
}

// The owner of a namespace: its label counts before the settings. NULL: nobody.
static const policy_string_t *owner_of(const review_namespace_t *namespace) {
  const policy_string_t *labelled = VALUE_OF(namespace->labels, settings.label);
  return labelled ? labelled : VALUE_OF(settings.owners, namespace->name);
}

static void violate(
    exports_policy_verdict_t *verdict, policy_string_t rule, policy_string_t key, policy_string_t message,
    policy_string_t fix) {
  verdict_violation_t violation = {.rule = rule, .key = key, .field = TEXT("metadata.labels"), .message = message, .fix = fix};
  PUSH(verdict->violations, violation);
}

static void judge(
    const exports_policy_review_t *review, const policy_string_t *owner, exports_policy_verdict_t *verdict) {
  policy_string_t label = settings.label;
  const policy_string_t *found = VALUE_OF(review->service.metadata.labels, label);
  if (!found) {
    policy_string_t fix = owner ? CONCAT(TEXT("add it with the value "), quote(*owner)) : TEXT("add it");
    violate(verdict, TEXT("X02"), label, CONCAT(TEXT("the label "), quote(label), TEXT(" is missing")), fix);
    return;
  }
  policy_string_t key = CONCAT(label, TEXT("="), *found);
  if (owner && !same(*owner, *found)) {
    policy_string_t message = CONCAT(
        TEXT("the label "), quote(label), TEXT(" says "), quote(*found), TEXT(", but namespace "),
        quote(review->namespace_.name), TEXT(" belongs to "), quote(*owner));
    violate(verdict, TEXT("X02"), key, message, CONCAT(TEXT("use "), quote(*owner)));
    return;
  }
  size_t length = characters(*found);
  if (settings.max_length.is_some && length > settings.max_length.val) {
    policy_string_t message = CONCAT(
        TEXT("the label "), quote(label), TEXT(" has "), decimal(length), TEXT(" characters, and "),
        decimal(settings.max_length.val), TEXT(" are allowed"));
    violate(verdict, TEXT("X03"), key, message, TEXT("shorten it"));
  }
}

void exports_policy_validate(exports_policy_review_t *review, exports_policy_verdict_t *verdict) {
  *verdict = (exports_policy_verdict_t){0};
  if (!concerns(&review->service)) return;
  const policy_string_t *owner = owner_of(&review->namespace_);
  judge(review, owner, verdict);
  if (!review->namespace_.known) {
    PUSH(verdict->warnings,
         CONCAT(TEXT("the labels of namespace "), quote(review->namespace_.name), TEXT(" are not known")));
  }
  if (owner) PUSH(verdict->audit_annotations, (verdict_pair_t){TEXT("owner"), *owner});
}

static void add(exports_policy_verdict_t *verdict, policy_string_t path, policy_string_t value) {
  verdict_patch_operation_t operation = {.tag = VERDICT_PATCH_OPERATION_ADD, .val.add = {path, value}};
  PUSH(verdict->patch, operation);
}

void exports_policy_mutate(exports_policy_review_t *review, exports_policy_verdict_t *verdict) {
  *verdict = (exports_policy_verdict_t){0};
  const service_list_pair_t *labels = &review->service.metadata.labels;
  const policy_string_t *owner = owner_of(&review->namespace_);
  if (!owner || !concerns(&review->service) || VALUE_OF(*labels, settings.label)) return;
  policy_string_t line = CONCAT(TEXT("adds the owner "), quote(*owner));
  log_log(LOG_LEVEL_DEBUG, &line);
  if (labels->len == 0) add(verdict, TEXT("/metadata/labels"), TEXT("{}"));
  add(verdict, CONCAT(TEXT("/metadata/labels/"), pointer(settings.label)), json(*owner));
}
