//! OCSF 1.6: API Activity (6003) for what has an action, Base Event (0) for what has none.
//!
//! The class asks for `actor`, `api` and `src_endpoint`, so each is there, with what the event says or "unknown".

use attestlog_core::base64;
use serde_json::{Map, Value, json};

use super::{Entry, occurred_at, text};

const VERSION: &str = "1.6.0";

/// What an action's last word says about the activity: its number, its name, the words. 99 is another.
const ACTIVITIES: [(u16, &str, &str); 4] = [
    (1, "Create", "create created insert inserted add added register registered upload uploaded"),
    (2, "Read", "read view viewed list listed export exported download downloaded access accessed"),
    (
        3,
        "Update",
        "update updated change changed edit edited modify modified rename renamed enable enabled disable disabled",
    ),
    (
        4,
        "Delete",
        "delete deleted remove removed truncate truncated purge purged revoke revoked destroy destroyed",
    ),
];

const API_ACTIVITY: u32 = 6003;

/// The entry as an event of OCSF.
pub(super) fn event(entry: &Entry<'_>) -> Value {
    let event = crate::json::read(entry.data);
    let mut mapped = json!({
        "time": occurred_at(event.as_ref(), entry).as_millisecond(),
        "severity_id": 1,
        "metadata": metadata(event.as_ref(), entry),
        "raw_data": std::str::from_utf8(entry.data).map_or_else(|_| base64::format(entry.data), str::to_owned),
    });
    let class = match event.as_ref().and_then(|event| Some((event, text(event, "/action")?))) {
        Some((event, action)) => api_activity(event, action),
        None => {
            json!({"class_uid": 0, "class_name": "Base Event", "category_uid": 0, "activity_id": 0, "type_uid": 0})
        }
    };
    extend(&mut mapped, class);
    mapped
}

fn metadata(event: Option<&Value>, entry: &Entry<'_>) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": {"name": "Attestlog", "vendor_name": "Attestlog", "version": env!("CARGO_PKG_VERSION")},
        "log_name": entry.origin,
        "sequence": entry.index.0,
        "logged_time": entry.appended_at.as_millisecond(),
    });
    let field = |pointer| event.and_then(|event| text(event, pointer));
    insert(&mut metadata, "uid", Some(field("/id").map_or_else(|| entry.index.to_string(), str::to_owned)));
    insert(&mut metadata, "original_time", field("/occurred_at"));
    insert(&mut metadata, "event_code", field("/action"));
    insert(&mut metadata, "correlation_uid", field("/context/trace_id"));
    metadata
}

fn api_activity(event: &Value, action: &str) -> Value {
    let (activity, name) = activity(action);
    let (status, detail) = match text(event, "/outcome") {
        Some("success") => (1, None),
        Some("failure") => (2, None),
        // OCSF has two ends of an activity; this one is kept by its name.
        Some("denied") => (2, Some("denied")),
        _ => (0, None),
    };
    let mut mapped = json!({
        "class_uid": API_ACTIVITY, "class_name": "API Activity", "category_uid": 6, "category_name": "Application Activity",
        "activity_id": activity, "activity_name": name.unwrap_or(action),
        "type_uid": API_ACTIVITY * 100 + u32::from(activity), "status_id": status, "message": action,
        "actor": actor(event),
        "src_endpoint": text(event, "/context/ip").map_or_else(|| json!({"name": "unknown"}), |ip| json!({"ip": ip})),
    });
    insert(&mut mapped, "status_detail", detail);
    let mut api = json!({"operation": action});
    insert(&mut api, "request", text(event, "/context/request_id").map(|uid| json!({"uid": uid})));
    insert(&mut mapped, "api", Some(api));
    insert(
        &mut mapped,
        "http_request",
        text(event, "/context/user_agent").map(|agent| json!({"user_agent": agent})),
    );
    insert(&mut mapped, "resources", resources(event));
    insert(&mut mapped, "unmapped", unmapped(event));
    mapped
}

/// A noun and a verb: the verb is what follows the last of the usual separators.
fn activity(action: &str) -> (u16, Option<&'static str>) {
    let verb = action.rsplit(['.', ':', '/', ' ', '_']).next().unwrap_or_default().to_ascii_lowercase();
    let known = ACTIVITIES.iter().find(|(_, _, verbs)| verbs.split(' ').any(|known| known == verb));
    known.map_or((99, None), |(id, name, _)| (*id, Some(*name)))
}

fn actor(event: &Value) -> Value {
    let (kind, id) = (text(event, "/actor/type"), text(event, "/actor/id"));
    let name = text(event, "/actor/name");
    let mut actor = json!({});
    if kind == Some("service") {
        insert(&mut actor, "app_uid", id);
        insert(&mut actor, "app_name", name.or(id));
        return actor;
    }
    let type_id = match kind {
        Some("user") => 1,
        Some("system") => 3,
        Some(_) => 99,
        None => 0,
    };
    let mut user = json!({"type_id": type_id, "uid": id.unwrap_or("unknown")});
    insert(&mut user, "type", kind);
    insert(&mut user, "name", name);
    insert(&mut actor, "user", Some(user));
    actor
}

fn resources(event: &Value) -> Option<Value> {
    let resource = |target: &Value| {
        let mut resource = json!({});
        insert(&mut resource, "type", text(target, "/type"));
        insert(&mut resource, "uid", text(target, "/id"));
        insert(&mut resource, "name", text(target, "/name"));
        resource.as_object().is_some_and(|members| !members.is_empty()).then_some(resource)
    };
    let targets = event.get("targets")?.as_array()?;
    let resources: Vec<Value> = targets.iter().filter_map(resource).collect();
    (!resources.is_empty()).then_some(Value::Array(resources))
}

/// What has no place of its own, under the names that the event has for it.
fn unmapped(event: &Value) -> Option<Value> {
    const MAPPED: [&str; 6] = ["id", "action", "occurred_at", "outcome", "targets", "actor"];
    let mut rest: Map<String, Value> = event.as_object()?.clone();
    rest.retain(|name, _| !MAPPED.contains(&name.as_str()));
    if let Some(behalf) = event.pointer("/actor/on_behalf_of") {
        rest.insert("actor".to_owned(), json!({"on_behalf_of": behalf}));
    }
    (!rest.is_empty()).then_some(Value::Object(rest))
}

/// Adds a member, if there is a value for it.
fn insert(object: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(name.to_owned(), value.into());
    }
}

fn extend(object: &mut Value, with: Value) {
    if let (Some(members), Value::Object(with)) = (object.as_object_mut(), with) {
        members.extend(with);
    }
}
