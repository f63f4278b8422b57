//! Conversations. Whole publishers are in `tests/rtmp.rs`.

use bytes::BytesMut;

use super::chunk::write;
use super::*;
use crate::bitstream::amf0::{Value, read_values};
use crate::media::NameError;

/// A publisher and the server's side of its connection.
struct Talk {
    session: Session,
    answers: ChunkReader,
}

impl Talk {
    fn open() -> Self {
        let mut session = Session::new();
        let mut input = BytesMut::from(&[3][..]);
        input.resize(1 + 2 * 1536, 0);
        session.push(&mut input).unwrap();
        assert!(session.is_open() && input.is_empty());
        assert_eq!(session.take_output().len(), 1 + 2 * 1536);
        let mut answers = ChunkReader::default();
        answers.set_chunk_size(4096).unwrap();
        Self { session, answers }
    }

    fn connected(app: &str) -> Self {
        let mut talk = Self::open();
        talk.command(0, &["connect".into(), 1.0.into(), Value::object([("app", app.into())])]);
        talk
    }

    fn send(&mut self, kind: u8, stream: u32, payload: &[u8]) -> Result<Vec<Message>, SessionError> {
        let mut input = BytesMut::new();
        write(&mut input, 3, kind, stream, payload, 128);
        self.session.push(&mut input)?;
        let (mut output, mut messages) = (BytesMut::from(self.session.take_output()), Vec::new());
        while let Some(message) = self.answers.next(&mut output).unwrap() {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Sends a command; what comes back of commands, as values.
    fn command(&mut self, stream: u32, values: &[Value]) -> Vec<Vec<Value>> {
        let mut payload = BytesMut::new();
        values.iter().for_each(|value| value.write(&mut payload));
        let messages = self.send(20, stream, &payload).unwrap();
        messages.iter().filter(|m| m.kind == 20).map(|m| read_values(&m.payload).unwrap()).collect()
    }

    fn status(&mut self) -> String {
        let mut output = BytesMut::from(self.session.take_output());
        let message = self.answers.next(&mut output).unwrap().unwrap();
        code(&read_values(&message.payload).unwrap())
    }
}

fn code(values: &[Value]) -> String {
    values[3].property("code").unwrap().text().unwrap().to_owned()
}

fn publish(key: &str) -> [Value; 5] {
    ["publish".into(), 5.0.into(), Value::Null, key.into(), "live".into()]
}

#[test]
fn connect_is_answered_with_windows_and_what_enhanced_rtmp_wants_to_know() {
    let mut talk = Talk::open();
    let mut payload = BytesMut::new();
    let object = Value::object([("app", "live".into()), ("objectEncoding", 3.0.into())]);
    for value in ["connect".into(), 1.0.into(), object] {
        value.write(&mut payload);
    }
    let answers = talk.send(20, 0, &payload).unwrap();
    let kinds: Vec<_> = answers.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [5, 6, 4, 1, 20]);
    let result = read_values(&answers[4].payload).unwrap();
    assert_eq!((result[0].text(), result[1].number()), (Some("_result"), Some(1.0)));
    assert_eq!(code(&result), "NetConnection.Connect.Success");
    assert_eq!(result[3].property("objectEncoding").unwrap().number(), Some(3.0));
    for place in [&result[2], &result[3]] {
        let Some(Value::List(codecs)) = place.property("fourCcList") else { panic!("no fourCcList") };
        assert!(codecs.contains(&"hvc1".into()) && codecs.contains(&"Opus".into()));
        assert!(place.property("videoFourCcInfoMap").unwrap().property("av01").is_some());
        assert_eq!(place.property("capsEx").unwrap().number(), Some(14.0));
    }
}

#[test]
fn a_publisher_waits_for_the_verdict() {
    let mut talk = Talk::connected("live");
    assert_eq!(talk.command(0, &["createStream".into(), 4.0.into(), Value::Null])[0][3].number(), Some(1.0));
    assert!(talk.command(1, &publish("cam1?token=x")).is_empty());
    let Some(Event::Publish(name)) = talk.session.pull() else { panic!("no publisher") };
    assert_eq!((name.name.as_str(), name.query.as_deref()), ("live/cam1", Some("token=x")));
    talk.session.accept();
    assert_eq!(talk.status(), "NetStream.Publish.Start");
    talk.send(9, 1, &[0x17, 1]).unwrap();
    let Some(Event::Tag { tag: Tag::Video, timestamp: 0, body }) = talk.session.pull() else { panic!("no tag") };
    assert_eq!(body.as_ref(), [0x17, 1]);
    let answers = talk.command(1, &["deleteStream".into(), 0.0.into(), Value::Null, 1.0.into()]);
    assert_eq!(code(&answers[0]), "NetStream.Unpublish.Success");
    assert_eq!(talk.session.pull(), Some(Event::Unpublish));
    talk.send(9, 1, &[0x17, 1]).unwrap();
    assert_eq!(talk.session.pull(), None, "what comes after the end is nobody's");
}

#[test]
fn a_refused_publisher_is_told_why() {
    let mut talk = Talk::connected("live");
    talk.command(1, &publish("cam1"));
    talk.session.refuse("because");
    assert_eq!(talk.status(), "NetStream.Publish.BadName");
}

#[test]
fn a_bad_name_and_a_second_stream_are_refused_without_asking() {
    let mut talk = Talk::connected("live");
    assert_eq!(code(&talk.command(1, &publish("../etc"))[0]), "NetStream.Publish.BadName");
    let error = NameError::ReservedStart('.');
    assert_eq!(talk.session.pull(), Some(Event::BadName { asked: "live/../etc".to_owned(), error }));
    talk.command(1, &publish("one"));
    assert_eq!(code(&talk.command(1, &publish("two"))[0]), "NetStream.Publish.BadName");
}

#[test]
fn the_old_commands_of_flash_encoders_are_answered() {
    let mut talk = Talk::connected("live");
    let mut ask = |name: &str| talk.command(0, &[name.into(), 2.0.into(), Value::Null, "cam1".into()])[0][0].clone();
    assert_eq!(ask("releaseStream"), "_result".into());
    assert_eq!(ask("FCPublish"), "onFCPublish".into());
    assert_eq!(ask("_checkbw"), "_result".into());
    assert_eq!(ask("FCUnpublish"), "onFCUnpublish".into());
    assert_eq!(ask("somethingElse"), "_error".into());
}

#[test]
fn amf3_commands_and_data_are_amf0_behind_a_byte() {
    let mut talk = Talk::connected("live");
    let mut payload = BytesMut::from(&[0][..]);
    publish("cam1").iter().for_each(|value| value.write(&mut payload));
    talk.send(17, 1, &payload).unwrap();
    assert!(matches!(talk.session.pull(), Some(Event::Publish(_))));
    talk.send(15, 1, &[0, 2, 0, 1, b'x']).unwrap();
    let Some(Event::Tag { tag: Tag::Script, body, .. }) = talk.session.pull() else { panic!("no script") };
    assert_eq!(body.as_ref(), [2, 0, 1, b'x']);
}

#[test]
fn an_aggregate_is_its_tags_at_their_times() {
    let mut talk = Talk::connected("live");
    talk.command(1, &publish("cam1"));
    talk.session.pull();
    let mut payload = Vec::new();
    for (kind, time, byte) in [(9, 100, 1), (8, 123, 2)] {
        payload.extend([kind, 0, 0, 1, 0, 0, time, 0, 0, 0, 0, byte, 0, 0, 0, 12]);
    }
    payload.extend([9, 0, 0, 99]); // cut off
    talk.send(22, 1, &payload).unwrap();
    let tags: Vec<_> = std::iter::from_fn(|| talk.session.pull()).collect();
    let [Event::Tag { timestamp: 0, tag: Tag::Video, .. }, Event::Tag { timestamp: 23, tag: Tag::Audio, .. }] =
        &tags[..]
    else {
        panic!("{tags:?}")
    };
}

#[test]
fn what_arrives_is_acknowledged_as_often_as_the_peer_asks() {
    let mut talk = Talk::open();
    assert!(talk.send(5, 0, &10_000_u32.to_be_bytes()).unwrap().is_empty());
    let answers = talk.send(18, 1, &[0; 7_000]).unwrap();
    assert_eq!(answers.len(), 1);
    let received = u32::from_be_bytes(*answers[0].payload.first_chunk().unwrap());
    assert!(answers[0].kind == 3 && received > 10_000);
    assert!(talk.send(18, 1, &[0; 9_000]).unwrap().is_empty());
    talk.send(5, 0, &[0; 4]).unwrap();
    assert!(talk.send(18, 1, &[0; 60_000]).unwrap().is_empty(), "never, after a window of zero");
}

#[test]
fn what_is_no_rtmp_is_named_before_the_handshake_is_complete() {
    for (first, what) in [(0x16, "TLS"), (b'G', "HTTP"), (6, "RTMPE"), (0, "something else")] {
        let error = Session::new().push(&mut BytesMut::from(&[first][..])).unwrap_err();
        assert_eq!(error, SessionError { at: 0, fault: Fault::NotRtmp(what) });
    }
}

#[test]
fn broken_control_messages_and_commands_are_errors() {
    let fault = |kind, payload: &[u8]| Talk::open().send(kind, 0, payload).unwrap_err().fault;
    assert_eq!(fault(1, &[0, 0]), Fault::ShortControl(1));
    assert_eq!(fault(1, &[0; 4]), Fault::ChunkSize(0));
    assert!(matches!(fault(20, &[99]), Fault::Command(_)));
}
