use sallyport::{admission::*, engine::*, manifest::*, policy::*, inventory::Inventory};
use std::{sync::Arc, time::*};
use serde_json::json;
fn main() {
    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&std::env::args().nth(2).unwrap()).unwrap();
    let t = Instant::now();
    let engine = Arc::new(Engine::new(&EngineConfig::default()).unwrap());
    println!("engine {:?}", t.elapsed());
    let t = Instant::now();
    println!("{}", serde_json::to_string_pretty(&Inspection::of(&engine, &bytes).map_err(|e| e.to_string()).unwrap()).unwrap());
    println!("inspect {:?}", t.elapsed());
    let m = ServicePolicy::from_value(&json!({"apiVersion":"sallyport.dev/v1alpha1","kind":"ServicePolicy","metadata":{"name":"p"},"spec":{"module":{"file":"x.wasm"},"settings":settings}})).unwrap();
    let t = Instant::now();
    let policy = match Policy::load(&engine, m, &bytes) { Ok(p) => p, Err(e) => { println!("LOAD ERROR {e}"); return } };
    println!("load {:?} per instance {:?}", t.elapsed(), policy.configured_per_instance());
    let a = Admission::new(vec![policy], Inventory::default(), Exemptions::default());
    let body = std::fs::read(std::env::args().nth(3).unwrap()).unwrap();
    let go = || { let r = AdmissionRequest::parse(&body).unwrap();
      a.review(Function::Validate(sallyport::contract::review::Phase::Validating), &r, Clock{now: SystemTime::now(), deadline: Instant::now()+Duration::from_secs(5)}) };
    let o = go();
    println!("{o:#?}\n{}", String::from_utf8(o.response.to_json()).unwrap());
    let n = 20000; let t = Instant::now(); for _ in 0..n { go(); } println!("{:?} per review", t.elapsed()/n);
    let t = Instant::now(); for _ in 0..n { AdmissionRequest::parse(&body).unwrap(); } println!("{:?} per envelope", t.elapsed()/n);
    let v: serde_json::Value = serde_json::from_slice(&body).unwrap(); let o = v["request"]["object"].to_string();
    let t = Instant::now(); for _ in 0..n { sallyport::service::parse(&o).unwrap(); } println!("{:?} per parse", t.elapsed()/n);
}
