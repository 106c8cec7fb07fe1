//! CEL, the Common Expression Language, as Kubernetes' admission policies have it.
//!
//! An [`Environment`] says which names an expression may use. It compiles an expression into a
//! [`Program`]: parsed, with macros expanded, and type-checked by the rules of the API server, with
//! line and column in every error. A program is evaluated over borrowed JSON ([`json::Document`])
//! within a [`Budget`] of steps, which bounds time, memory and depth.
//!
//! ```
//! use sallyport_cel::{Budget, Environment, EvalError, Type, Value, Variables, json::Document};
//!
//! struct Object<'a>(&'a Document<'a>);
//!
//! impl<'a> Variables<'a> for Object<'a> {
//!     fn global(&self, _: usize) -> Result<Value<'a>, EvalError> {
//!         Ok(self.0.root().into())
//!     }
//!
//!     fn composed(&self, _: usize) -> Result<Value<'a>, EvalError> {
//!         Ok(Value::Null)
//!     }
//! }
//!
//! let environment = Environment::new().variable_of("object", Type::Dyn);
//! let program = environment
//!     .compile("object.spec.ports.all(p, p.port < 1024)", &[Type::Bool])
//!     .expect("valid");
//! let document =
//! Document::parse(r#"{"spec":{"ports":[{"port":80},{"port":8080}]}}"#).expect("JSON");
//! let budget = Budget::new(10_000);
//! let value = program.evaluate(&Object(&document), &budget).expect("no error");
//! assert!(matches!(value, Value::Bool(false)));
//! ```

#![no_std]

extern crate alloc;

mod ast;
mod budget;
mod check;
mod environment;
mod error;
mod eval;
mod functions;
pub mod json;
mod known;
pub mod kubernetes;
mod lexer;
mod macros;
mod order;
mod parser;
mod program;
mod regex;
pub mod schema;
mod shared;
mod signatures;
mod types;
mod value;

pub use budget::{Budget, MAX_DEPTH};
pub use environment::Environment;
pub use error::{CompileError, EvalError};
pub use known::KnownVariable;
pub use parser::MAX_LENGTH;
pub use program::{Program, Uses, Variables};
pub use types::{Opaque, Type};
pub use value::{List, Map, Object, Operation, Str, TypeName, Value};
