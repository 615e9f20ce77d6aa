use super::*;

fn read(text: &str) -> Result<ToCoordinator, Refusal> {
    ToCoordinator::read(&Bytes::from(text.to_owned()))
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().0
}

#[test]
fn every_method_of_a_coordinator_is_read() {
    let uuid = |text| Uuid::new(text).unwrap();
    assert_eq!(read(r#"["al",{}]"#), Ok(ToCoordinator::Agents));
    assert_eq!(read(r#"["ak"]"#), Ok(ToCoordinator::Kinds));
    let kind = Kind::new("echo").unwrap();
    assert_eq!(read(r#"["cl",{"kind":"echo"}]"#), Ok(ToCoordinator::List(Some(kind))));
    assert_eq!(read(r#"["cl",{"kind":null}]"#), Ok(ToCoordinator::List(None)));
    assert_eq!(read(r#"["cl",{}]"#), Ok(ToCoordinator::List(None)));
    assert_eq!(read(r#"["cr",{"uuid":"c"}]"#), Ok(ToCoordinator::Release(uuid("c"))));
    let agent = AgentId::new("a").unwrap();
    assert_eq!(read(r#"["au",{"uuid":"a"}]"#), Ok(ToCoordinator::Unregister(agent)));
}

#[test]
fn the_argument_of_a_container_passes_as_it_is() {
    let data = r#"{"b":1.0, "a":[9007199254740993,"\u00fc"]}"#;
    let Ok(ToCoordinator::Send(send)) = read(&format!(r#"["cs",["c","echo",{data}]]"#)) else {
        panic!("it is a request to a container");
    };
    assert_eq!((send.container.as_str(), send.operation.as_str()), ("c", "echo"));
    assert_eq!(send.data, data);
    let Ok(ToCoordinator::Send(send)) = read(r#"["cs",["c","echo"]]"#) else {
        panic!("the argument may be absent");
    };
    assert_eq!(send.data, "");
}

#[test]
fn null_counts_as_absent_in_a_get() {
    let nothing = r#"["gg",{"kind":"k","request":{"uuid":null,"labels":null,"extra":null}}]"#;
    let Ok(ToCoordinator::Get(get)) = read(nothing) else { panic!("it is a get") };
    assert_eq!(read(r#"["gg",{"kind":"k","request":{}}]"#), Ok(ToCoordinator::Get(get.clone())));
    assert_eq!(read(r#"["gg",{"kind":"k"}]"#), Ok(ToCoordinator::Get(get.clone())));
    assert_eq!((get.uuid, get.labels.len(), get.extra.len()), (None, 0, 0));
    let all =
        r#"["gg",{"kind":"k","request":{"uuid":"c","labels":["l","a=b"],"extra":{"x":1.0}}}]"#;
    let Ok(ToCoordinator::Get(get)) = read(all) else { panic!("it is a get") };
    assert_eq!(get.extra, br#"{"x":1.0}"#);
    assert_eq!(get.labels, labels::read(["l", "a=b"]));
}

#[test]
fn a_registration_lists_each_kind_and_container_once() {
    let record =
        r#"{"agentId":"a","uuid":"c","endpoint":"e","kind":"k","lastVisit":1795289459958}"#;
    let text = format!(
        r#"["ar",{{"uuid":"a","containers":[{record},{record}],"kinds":["z","k","z"],"endpoint":null}}]"#
    );
    let Ok(ToCoordinator::Register(register)) = read(&text) else { panic!("it is one") };
    assert_eq!(register.containers.len(), 1);
    assert_eq!(register.kinds, [Kind::new("z").unwrap(), Kind::new("k").unwrap()]);
    assert_eq!(register.endpoint, None);
}

#[test]
fn what_cannot_be_read_is_refused_with_a_text() {
    assert_eq!(refused(r#"["zz",{"any":1}]"#), "Unknown methodzz");
    assert_eq!(refused(r#"["cu",{}]"#), "Unknown methodcu");
    assert!(refused("not json").starts_with("the request cannot be read"));
    assert!(refused("{}").starts_with("the request cannot be read"));
    assert!(refused("[]").contains("names no method"));
    assert!(refused("[1]").starts_with("the method cannot be read"));
    assert!(refused(r#"["ar",{}]"#).starts_with("the parameters of ar cannot be read"));
    assert!(refused(r#"["cs",null]"#).starts_with("the parameters of cs cannot be read"));
    assert!(refused(r#"["cs",[]]"#).contains("takes a container"));
    assert!(refused(r#"["gg",{"kind":""}]"#).contains("the kind is empty"));
    assert!(refused(r#"["cr",{"uuid":"\u0000"}]"#).contains("not allowed"));
    let long = "x".repeat(limits::OPERATION_BYTES + 1);
    assert!(refused(&format!(r#"["cs",["c","{long}",1]]"#)).contains("over 256 bytes"));
    assert_eq!(refused(&format!(r#"["{long}"]"#)).len(), "Unknown method".len() + 256);
    let not_text = Bytes::from_static(b"[\"ak\",\"\xff\"]");
    assert!(ToCoordinator::read(&not_text).unwrap_err().0.contains("not UTF-8"));
    assert!(refused(&"[".repeat(1_000_000)).contains("levels deep"));
}

#[test]
fn every_method_of_an_agent_is_read() {
    let read = |text: &str| ToAgent::read(&Bytes::from(text.to_owned()));
    let uuid = |text| Uuid::new(text).unwrap();
    assert_eq!(read(r#"["cc",{"uuid":"c"}]"#), Ok(ToAgent::Connect(vec![uuid("c")])));
    let two = ToAgent::Connect(vec![uuid("c"), uuid("d")]);
    assert_eq!(read(r#"["cc",{"uuid":["c","d"]}]"#), Ok(two));
    assert_eq!(read(r#"["cd",{"uuid":"c"}]"#), Ok(ToAgent::Disconnect(uuid("c"))));
    assert!(matches!(read(r#"["cs",["c","echo",1]]"#), Ok(ToAgent::Send(_))));
    assert_eq!(read(r#"["zz",{}]"#).unwrap_err().0, "Unknown methodzz");
}
