//! S04: why a load balancer is not certainly an internal one.

use super::LoadBalancerExposure;
use super::settings::{Extra, Settings};
use sallyport_policy::facts::internal::{self, CONTROLLERS, Controller, Public};
use sallyport_policy::prelude::*;

/// The controllers that settings name.
pub(crate) fn controllers(settings: &Settings, errors: &mut Vec<SettingsError>) -> Vec<&'static Controller> {
    let mut controllers = vec![];
    for (i, name) in settings.providers.iter().enumerate() {
        match internal::by_name(name) {
            Some(controller) => controllers.push(controller),
            None => errors.push(SettingsError::new(text!["providers[", i, "]"], unknown(name))),
        }
    }
    for (i, extra) in settings.extra.iter().enumerate() {
        if extra.key.is_empty() {
            errors.push(SettingsError::new(text!["extra[", i, "].key"], "must not be empty; remove it"));
        }
    }
    for (i, class) in settings.internal_classes.iter().enumerate() {
        if class.is_empty() {
            errors.push(SettingsError::new(text!["internalClasses[", i, "]"], "must not be empty; remove it"));
        }
    }
    controllers
}

impl LoadBalancerExposure {
    /// Why a load balancer may be a public one.
    pub(crate) fn public(&self, review: &Review) -> Option<Violation> {
        let service = &review.service;
        let class = service.spec.load_balancer_class.as_ref();
        if class.is_some_and(|class| self.settings.internal_classes.contains(class))
            || self.settings.extra.iter().any(|extra| has(service, extra))
        {
            return None;
        }
        match self.controllers_for(review) {
            Ok(controllers) => {
                controllers.iter().find_map(|controller| Some(explain(controller, controller.public(service)?)))
            }
            Err(why) => {
                let message = text!["nothing makes the load balancer internal for certain: ", why];
                let fix = "ask for the policy's providers or internalClasses to be set, or use type ClusterIP";
                Some(Violation::new("S04", "spec.type", message).fix(fix))
            }
        }
    }

    /// Who serves the Service: what settings name, or one controller for each kind of Node.
    pub(crate) fn controllers_for(&self, review: &Review) -> Result<Vec<&'static Controller>, String> {
        if !self.controllers.is_empty() {
            return Ok(self.controllers.clone());
        }
        let mut controllers = vec![];
        for provider in &review.cluster.providers {
            let infrastructure = provider.id.provider().unwrap_or_default();
            match internal::on(infrastructure, &review.service) {
                Some(controller) => controllers.push(controller),
                None if infrastructure.is_empty() => return Err("a Node has no providerID".to_owned()),
                None => return Err(text!["no switch is known for Nodes of ", quote(infrastructure)]),
            }
        }
        if controllers.is_empty() { Err("no Node is known".to_owned()) } else { Ok(controllers) }
    }
}

fn has(service: &Service, extra: &Extra) -> bool {
    service.annotation(&extra.key) == Some(&extra.value)
}

fn unknown(name: &str) -> String {
    let mut problem = text![quote(name), " is no controller that is known; use "];
    for (i, controller) in CONTROLLERS.iter().enumerate() {
        if i > 0 {
            problem.push_str(if i + 1 == CONTROLLERS.len() { " or " } else { ", " });
        }
        problem.push_str(controller.name);
    }
    problem
}

fn explain(controller: &Controller, public: Public<'_>) -> Violation {
    let name = controller.name;
    let mut place = Place::Field("spec.type");
    let message = match public {
        Public::Class(class) => {
            place = Place::Field(CLASS);
            text![quote(class), " is not served by ", name, ", whose annotations say nothing here"]
        }
        Public::ExternalClass(class) => {
            place = Place::Field(CLASS);
            text![quote(class), " makes a public load balancer"]
        }
        Public::Value { key, found, .. } => {
            place = Place::Annotation(key);
            text![quote(found), " does not make the load balancer internal for ", name]
        }
        Public::Unclear(key) => {
            place = Place::Annotation(key);
            text!["leaves open whether ", name, " makes the load balancer internal"]
        }
        Public::Missing { .. } => text!["nothing makes the load balancer internal for ", name],
    };
    let field = match place {
        Place::Field(field) => field.to_owned(),
        Place::Annotation(key) => annotation(key),
    };
    Violation::new("S04", field, message).fix(fix(public))
}

const CLASS: &str = "spec.loadBalancerClass";

enum Place<'a> {
    Field(&'static str),
    Annotation(&'a str),
}

fn fix(public: Public<'_>) -> String {
    match public {
        Public::Class(_) | Public::ExternalClass(_) => "use an internal class, or type ClusterIP".to_owned(),
        Public::Unclear(_) => "remove it".to_owned(),
        Public::Value { set: Some(value), .. } => text!["set it to ", quote(value)],
        Public::Missing { key, set: Some(value) } => {
            text!["set the annotation ", key, " to ", quote(value), ", or use type ClusterIP"]
        }
        Public::Missing { key, set: None } => text!["set the annotation ", key, ", or use type ClusterIP"],
        Public::Value { set: None, .. } => "correct or remove it".to_owned(),
    }
}

/// `metadata.annotations["example.com/key"]`.
pub(crate) fn annotation(key: &str) -> String {
    text!["metadata.annotations[", quote(key), "]"]
}
