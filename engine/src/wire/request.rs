//! Requests are read as Go reads them: names of fields in any case, null for any value, unknown names ignored.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

use super::{Config, CreateBody, HostConfig, NetworkingConfig};

/// Reads a value.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Lenient(value))
}

impl CreateBody {
    /// The fields of `Config`, with the others beside them.
    pub(crate) fn read(value: &Value) -> Result<Self, Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Beside {
            #[serde(default)]
            host_config: HostConfig,
            #[serde(default)]
            networking_config: NetworkingConfig,
        }
        let config: Config = read(value.clone())?;
        let Beside { host_config, networking_config } = read(value.clone())?;
        Ok(Self { config, host_config, networking_config, ..Self::default() })
    }
}

struct Lenient(Value);

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(values) => visitor.visit_seq(Values(values.into_iter())),
            Value::Object(map) => visitor
                .visit_map(Entries { entries: map.into_iter().collect::<Vec<_>>().into_iter(), value: None }),
            other => other.deserialize_any(visitor),
        }
    }

    // Null as a part of a list or a map: Go leaves the zero value.

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_bool(false) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_i64(0) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_u64(0) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_str("") } else { self.deserialize_any(visitor) }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_seq(Values(Vec::new().into_iter())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries { entries: Vec::new().into_iter(), value: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let map = match self.0 {
            Value::Object(map) => map,
            Value::Null => serde_json::Map::new(),
            // Serde would take a list for the fields in their order.
            other => return Err(de::Error::custom(format!("invalid type: {other}, expected an object"))),
        };
        let known = |key: &str| {
            let exact = fields.iter().find(|field| **field == key);
            exact.or_else(|| fields.iter().find(|field| field.eq_ignore_ascii_case(key)))
        };
        let mut entries: Vec<(String, Value)> = Vec::with_capacity(map.len());
        for (key, value) in map {
            let Some(field) = known(&key).filter(|_| !value.is_null()) else { continue };
            // Of two spellings the last one counts, as in Go.
            entries.retain(|(earlier, _)| earlier != field);
            entries.push(((*field).to_owned(), value));
        }
        visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Values(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Values {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|value| seed.deserialize(Lenient(value))).transpose()
    }
}

struct Entries {
    entries: std::vec::IntoIter<(String, Value)>,
    value: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let deserializer: StrDeserializer<'_, Error> = key.as_str().into_deserializer();
        let read = seed.deserialize(deserializer)?;
        self.value = Some((key, value));
        Ok(Some(read))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (key, value) = self.value.take().unwrap_or_default();
        seed.deserialize(Lenient(value)).map_err(|error| de::Error::custom(format!("{key}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_null_is_nothing() {
        let body = json!({
            "image": "box", "CMD": "true", "Env": null, "Labels": {"Keep": "Case"}, "Invented": 1,
            "hostconfig": {"binds": ["a:b"], "MEMORY": 5, "PortBindings": {"80/tcp": null}, "RestartPolicy": null},
            "NetworkingConfig": {"endpointsconfig": {"n": {"ipamconfig": null, "aliases": ["x"]}}},
        });
        let read = CreateBody::read(&body).unwrap();
        assert_eq!(read.config.image, "box");
        assert_eq!(read.config.cmd.unwrap().0, ["true"]);
        assert_eq!(read.config.env, None);
        assert_eq!(read.config.labels.unwrap()["Keep"], "Case");
        assert_eq!(read.host_config.binds.unwrap(), ["a:b"]);
        assert_eq!(read.host_config.memory, 5);
        assert_eq!(read.host_config.port_bindings["80/tcp"], None);
        assert_eq!(read.networking_config.endpoints_config["n"].aliases.as_deref().unwrap(), ["x"]);
    }

    #[test]
    fn null_in_a_list_or_a_map_is_the_zero_value() {
        let body = json!({
            "Labels": {"a": null, "b": "c"}, "Env": ["A=1", null],
            "HostConfig": {"Ulimits": [null, {"Name": "nofile", "Hard": null}], "Tmpfs": {"/t": null}},
            "NetworkingConfig": {"EndpointsConfig": {"n": null}},
        });
        let read = CreateBody::read(&body).unwrap();
        assert_eq!(read.config.labels.unwrap()["a"], "");
        assert_eq!(read.config.env.unwrap(), ["A=1", ""]);
        let limits = read.host_config.ulimits.unwrap();
        assert_eq!((limits[0].name.as_str(), limits[1].name.as_str(), limits[1].hard), ("", "nofile", 0));
        assert_eq!(read.host_config.tmpfs.unwrap()["/t"], "");
        assert_eq!(read.networking_config.endpoints_config["n"], crate::wire::EndpointSettings::default());
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (body, field) in [
            (json!({"HostConfig": {"Memory": "5"}}), "Memory"),
            (json!({"HostConfig": {"Memory": 5.0}}), "Memory"),
            (json!({"HostConfig": {"Binds": "a:b"}}), "Binds"),
            (json!({"HostConfig": {"BlkioWeight": 70_000}}), "BlkioWeight"),
            (json!({"HostConfig": []}), "HostConfig"),
            (json!({"Labels": ["a=b"]}), "Labels"),
            (json!({"Env": [1]}), "Env"),
            (json!({"Tty": 1}), "Tty"),
        ] {
            let error = CreateBody::read(&body).map(drop).unwrap_err().to_string();
            assert!(error.contains(field), "{body}: {error}");
        }
        assert!(CreateBody::read(&json!([])).is_err());
    }

    #[test]
    fn a_wrong_type_is_told_by_its_field() {
        let error = CreateBody::read(&json!({"HostConfig": {"Memory": 1.5}})).unwrap_err().to_string();
        assert!(error.contains("host_config") || error.contains("HostConfig"), "{error}");
        assert!(error.contains("Memory"), "{error}");
        assert!(CreateBody::read(&json!({"Tty": "yes"})).is_err());
    }
}
