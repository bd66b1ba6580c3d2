//! Values and fields as JSON, and back. What JSON has no form for is an object with one key that begins
//! with a dollar sign; the head of the header has the list.

use data_encoding::BASE64;
use serde_json::{Map, Number, Value as Json, json};

use sync_client::{Field, Value, Which};

use crate::code::Code;
use crate::failure::Failure;

/// Whole numbers from here on, or below as much, are none of 64 bits signed.
const WHOLE_MAX: f64 = 9_223_372_036_854_775_808.0;

/// Reads a text that is JSON.
pub(crate) fn parse(what: &str, text: &str) -> Result<Json, Failure> {
    serde_json::from_str(text).map_err(|error| wrong(format!("{what} is not JSON: {error}")))
}

/// Reads the fields of a record.
pub(crate) fn fields(what: &str, text: &str) -> Result<Vec<(String, Field)>, Failure> {
    let Json::Object(object) = parse(what, text)? else {
        return Err(wrong(format!("{what} is not an object; write {{\"name\": value, …}}")));
    };
    object.into_iter().map(|(name, json)| Ok((name, field(json)?))).collect()
}

/// Reads a path of nested maps: a list of names.
pub(crate) fn path(what: &str, text: &str) -> Result<Vec<String>, Failure> {
    serde_json::from_str(text)
        .map_err(|error| wrong(format!("{what} is not a list of names, [\"name\", …]: {error}")))
}

/// Reads which changes are meant.
pub(crate) fn which(text: &str) -> Result<Which, Failure> {
    const KEYS: [&str; 5] = ["since", "author", "device", "from_ms", "until_ms"];
    let Json::Object(mut object) = parse("which", text)? else {
        return Err(wrong("which is not an object; write {\"since\": number, …}"));
    };
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&&key[..])) {
        return Err(wrong(format!("which has no {key:?}; it has {}", KEYS.join(", "))));
    }
    let mut number = |key: &str| {
        let number = object.remove(key).map(|json| json.as_u64());
        number
            .map(|it| it.ok_or_else(|| wrong(format!("{key} is a whole number from 0"))))
            .transpose()
    };
    let (since, from_ms, until_ms) = (number("since")?, number("from_ms")?, number("until_ms")?);
    let mut replica = |key: &str| {
        let read = |json: Json| json.as_str().and_then(|text| text.parse().ok());
        let replica = object.remove(key).map(read);
        replica.map(|it| it.ok_or_else(|| wrong(format!("{key} is no author")))).transpose()
    };
    let (author, device) = (replica("author")?, replica("device")?);
    let is_timed = from_ms.is_some() || until_ms.is_some();
    let unix_ms = is_timed.then(|| from_ms.unwrap_or(0)..until_ms.unwrap_or(u64::MAX));
    Ok(Which { since, author, device, unix_ms })
}

/// Reads a field.
pub(crate) fn field(json: Json) -> Result<Field, Failure> {
    let Json::Object(object) = json else { return Ok(Field::Register(value(json)?)) };
    Ok(match only(object)? {
        Only::Tagged(Tag::Set, Json::Array(members)) => {
            Field::Set(members.into_iter().map(value).collect::<Result<_, _>>()?)
        }
        Only::Tagged(Tag::Counter, Json::Number(count)) => {
            let count = count.as_i64().ok_or_else(|| form(Tag::Counter))?;
            Field::Counter(count)
        }
        Only::Tagged(Tag::Latest, json) => Field::Latest(value(json)?),
        Only::Tagged(Tag::Map, Json::Object(fields)) => {
            let fields = fields.into_iter().map(|(name, json)| Ok((name, field(json)?)));
            Field::Map(fields.collect::<Result<_, Failure>>()?)
        }
        Only::Tagged(tag, json) => Field::Register(tagged(tag, json)?),
        Only::Plain(object) => Field::Register(plain(object)?),
    })
}

/// Reads a value.
pub(crate) fn value(json: Json) -> Result<Value, Failure> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => self::number(&number)?,
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::List(items.into_iter().map(value).collect::<Result<_, _>>()?),
        Json::Object(object) => match only(object)? {
            Only::Tagged(tag, json) => tagged(tag, json)?,
            Only::Plain(object) => plain(object)?,
        },
    })
}

fn number(number: &Number) -> Result<Value, Failure> {
    if let Some(whole) = number.as_i64() {
        return Ok(Value::Int(whole));
    }
    match number.as_f64() {
        Some(float) if !is_beyond(float) => Ok(Value::Float(float)),
        _ => Err(wrong(format!(
            "{number} is beyond 64 bits signed; write {{\"$float\": {number}}} or a text"
        ))),
    }
}

/// Whether it may have been a whole number that lost digits.
fn is_beyond(float: f64) -> bool {
    float.abs() >= WHOLE_MAX
}

/// What JSON has no form for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Bytes,
    Float,
    Object,
    Set,
    Counter,
    Latest,
    Map,
}

impl Tag {
    const ALL: [Self; 7] =
        [Self::Bytes, Self::Float, Self::Object, Self::Set, Self::Counter, Self::Latest, Self::Map];

    fn key(self) -> &'static str {
        match self {
            Self::Bytes => "$bytes",
            Self::Float => "$float",
            Self::Object => "$object",
            Self::Set => "$set",
            Self::Counter => "$counter",
            Self::Latest => "$latest",
            Self::Map => "$map",
        }
    }

    /// What stands behind the key.
    fn form(self) -> &'static str {
        match self {
            Self::Bytes => "text in base64, with padding",
            Self::Float => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
            Self::Object | Self::Map => "an object",
            Self::Set => "a list",
            Self::Counter => "a whole number",
            Self::Latest => "a value",
        }
    }
}

enum Only {
    Tagged(Tag, Json),
    Plain(Map<String, Json>),
}

/// Looks whether an object stands for something else.
fn only(object: Map<String, Json>) -> Result<Only, Failure> {
    if !is_like_a_tag(&object) {
        return Ok(Only::Plain(object));
    }
    match object.into_iter().next() {
        Some((key, json)) => match Tag::ALL.into_iter().find(|tag| tag.key() == key) {
            Some(tag) => Ok(Only::Tagged(tag, json)),
            None => Err(wrong(format!(
                "{key:?} is no kind of value; write {{\"$object\": {{{key:?}: …}}}} if it is a name"
            ))),
        },
        None => Ok(Only::Plain(Map::new())),
    }
}

fn is_like_a_tag(object: &Map<String, Json>) -> bool {
    object.len() == 1 && object.keys().all(|key| key.starts_with('$'))
}

fn tagged(tag: Tag, json: Json) -> Result<Value, Failure> {
    match (tag, json) {
        (Tag::Bytes, Json::String(text)) => {
            BASE64.decode(text.as_bytes()).map(Value::Bytes).map_err(|_| form(tag))
        }
        (Tag::Float, Json::Number(number)) => {
            number.as_f64().map(Value::Float).ok_or_else(|| form(tag))
        }
        (Tag::Float, Json::String(text)) => match &text[..] {
            "NaN" => Ok(Value::Float(f64::NAN)),
            "Infinity" => Ok(Value::Float(f64::INFINITY)),
            "-Infinity" => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err(form(tag)),
        },
        (Tag::Object, Json::Object(object)) => plain(object),
        (Tag::Set | Tag::Counter | Tag::Latest | Tag::Map, _) => {
            let key = tag.key();
            Err(wrong(format!(
                "{{{key:?}: …}} is a kind of field, not of value: {}",
                form(tag).text
            )))
        }
        (Tag::Bytes | Tag::Float | Tag::Object, _) => Err(form(tag)),
    }
}

fn plain(object: Map<String, Json>) -> Result<Value, Failure> {
    let items = object.into_iter().map(|(key, json)| Ok((key, value(json)?)));
    Ok(Value::Map(items.collect::<Result<_, Failure>>()?))
}

fn form(tag: Tag) -> Failure {
    wrong(format!("what stands behind {:?} is {}", tag.key(), tag.form()))
}

pub(crate) fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::Json, text)
}

/// A field as JSON.
pub(crate) fn of_field(field: &Field) -> Json {
    match field {
        Field::Register(value) => of_value(value),
        Field::Latest(value) => tag(Tag::Latest, of_value(value)),
        Field::Set(members) => tag(Tag::Set, members.iter().map(of_value).collect()),
        Field::Counter(count) => tag(Tag::Counter, json!(count)),
        Field::Map(fields) => tag(Tag::Map, of_fields(fields)),
    }
}

/// Fields as JSON.
pub(crate) fn of_fields<'a>(fields: impl IntoIterator<Item = (&'a String, &'a Field)>) -> Json {
    fields.into_iter().map(|(name, field)| (name.clone(), of_field(field))).collect()
}

/// A value as JSON.
pub(crate) fn of_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        Value::Float(number) => of_float(*number),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => of_bytes(bytes),
        Value::List(items) => items.iter().map(of_value).collect(),
        Value::Map(items) => {
            let object: Map<_, _> =
                items.iter().map(|(key, item)| (key.clone(), of_value(item))).collect();
            if is_like_a_tag(&object) {
                tag(Tag::Object, Json::Object(object))
            } else {
                Json::Object(object)
            }
        }
    }
}

/// Bytes as JSON.
pub(crate) fn of_bytes(bytes: &[u8]) -> Json {
    tag(Tag::Bytes, json!(BASE64.encode(bytes)))
}

fn of_float(number: f64) -> Json {
    if number.is_nan() {
        return tag(Tag::Float, json!("NaN"));
    }
    if number.is_infinite() {
        let text = if number > 0.0 { "Infinity" } else { "-Infinity" };
        return tag(Tag::Float, json!(text));
    }
    if is_beyond(number) { tag(Tag::Float, json!(number)) } else { json!(number) }
}

fn tag(tag: Tag, json: Json) -> Json {
    Json::Object(Map::from_iter([(tag.key().to_owned(), json)]))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn of(text: &str) -> Result<Field, Failure> {
        field(parse("a field", text)?)
    }

    #[test]
    fn every_field_has_one_form_that_is_read_as_the_same() {
        let one = |key: &str, value: Value| Value::Map(BTreeMap::from([(key.to_owned(), value)]));
        let members = [Value::Int(1), Value::Bytes(vec![0, 255]), "x".into()];
        let inner = BTreeMap::from([("$set".to_owned(), Field::Counter(-3))]);
        for (written, expected) in [
            (Field::Register(Value::Null), "null"),
            (true.into(), "true"),
            (i64::MIN.into(), "-9223372036854775808"),
            (i64::MAX.into(), "9223372036854775807"),
            (1.0.into(), "1.0"),
            (0.1.into(), "0.1"),
            (1e300.into(), r#"{"$float":1e+300}"#),
            (f64::NAN.into(), r#"{"$float":"NaN"}"#),
            (f64::NEG_INFINITY.into(), r#"{"$float":"-Infinity"}"#),
            ("Grüße\0".into(), r#""Grüße\u0000""#),
            (vec![0u8, 1, 2, 255].into(), r#"{"$bytes":"AAEC/w=="}"#),
            (vec![Value::Null, Value::List(Vec::new())].into(), "[null,[]]"),
            (one("a", 1i64.into()).into(), r#"{"a":1}"#),
            (one("$bytes", "eA==".into()).into(), r#"{"$object":{"$bytes":"eA=="}}"#),
            (one("$object", one("$x", 1i64.into())).into(), {
                r#"{"$object":{"$object":{"$object":{"$x":1}}}}"#
            }),
            (Field::Latest(one("$", Value::Null)), r#"{"$latest":{"$object":{"$":null}}}"#),
            (Field::Counter(i64::MIN), r#"{"$counter":-9223372036854775808}"#),
            (Field::Set(BTreeSet::from(members)), r#"{"$set":[1,"x",{"$bytes":"AP8="}]}"#),
            (Field::Map(inner), r#"{"$map":{"$set":{"$counter":-3}}}"#),
            (Field::Map(BTreeMap::new()), r#"{"$map":{}}"#),
        ] {
            assert_eq!(of_field(&written).to_string(), expected);
            assert_eq!(of(expected).unwrap(), written, "{expected}");
        }
        // Two names, of which one looks like a kind, are names.
        let map: BTreeMap<_, _> =
            [("$set", 1i64), ("b", 2)].map(|(key, value)| (key.to_owned(), value.into())).into();
        assert_eq!(of(r#"{"$set":1,"b":2}"#).unwrap(), Value::Map(map).into());
    }

    #[test]
    fn what_would_lose_something_or_is_no_field_is_refused() {
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            r#"{"$float":"nan"}"#,
            r#"{"$bytes":"AAEC/w"}"#,
            r#"{"$bytes":"AAEC_w=="}"#,
            r#"{"$bytes":[1]}"#,
            r#"{"$set":{}}"#,
            r#"{"$set":[{"$set":[]}]}"#,
            r#"{"$counter":1.5}"#,
            r#"{"$counter":"1"}"#,
            r#"{"$map":[]}"#,
            r#"{"$object":1}"#,
            r#"{"$else":1}"#,
            r#"[{"$counter":1}]"#,
            r#"{"a":1"#,
            "",
        ] {
            assert!(matches!(of(text), Err(Failure { code: Code::Json, .. })), "{text}");
        }
        assert!(fields("the fields", "[]").is_err());
        assert!(path("the path", r#"["a",1]"#).is_err());
        assert_eq!(path("the path", r#"["a","b"]"#).unwrap(), ["a", "b"]);
    }

    #[test]
    fn which_changes_are_meant_is_read_as_it_is_written() {
        let (one, text) = ([7; 16], "07".repeat(16));
        let author = Some(sync_client::ReplicaId::from_bytes(one));
        let device = author;
        for (written, expected) in [
            ("{}".to_owned(), Which::default()),
            (r#"{"since":3}"#.to_owned(), Which::since(3)),
            (format!(r#"{{"author":"{text}"}}"#), Which { author, ..Which::default() }),
            (format!(r#"{{"device":"{text}","since":1}}"#), Which { device, ..Which::since(1) }),
            (r#"{"from_ms":5,"until_ms":9}"#.to_owned(), Which::between(5..9)),
            (r#"{"from_ms":5}"#.to_owned(), Which::between(5..u64::MAX)),
            (r#"{"until_ms":9}"#.to_owned(), Which::between(0..9)),
        ] {
            assert_eq!(which(&written).unwrap(), expected, "{written}");
        }
        for text in [
            "[]",
            r#"{"Since":1}"#,
            r#"{"since":-1}"#,
            r#"{"since":"1"}"#,
            r#"{"since":null}"#,
            r#"{"author":"nobody"}"#,
            r#"{"author":7}"#,
            r#"{"from_ms":1.5}"#,
        ] {
            assert!(matches!(which(text), Err(Failure { code: Code::Json, .. })), "{text}");
        }
    }

    #[test]
    fn what_nests_too_deep_is_an_error_and_no_overflow() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(of(&deep(100)).is_ok(), "the change will say what its limit is");
        assert!(of(&deep(200)).is_err());
        assert!(of(&deep(100_000)).is_err());
    }
}
