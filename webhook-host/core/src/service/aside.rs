//! Decodes an object as a foreign type, except for one member, which is decoded as a type of ours.
//!
//! Of `managedFields` only the parts that callers need are read; every other field of `ObjectMeta`
//! is still checked by its own type. The object is decoded in one pass, without a copy of the
//! member in between. Called by the parent module and `managed`.

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Returns the object without the member, and the member. If the member occurs twice, the last one
/// counts, as everywhere.
pub(super) fn aside<'de, D, Rest, Member>(
    deserializer: D,
    name: &'static str,
) -> Result<(Rest, Member), D::Error>
where
    D: Deserializer<'de>,
    Rest: Deserialize<'de>,
    Member: Deserialize<'de> + Default,
{
    deserializer.deserialize_map(Object {
        name,
        types: PhantomData,
    })
}

struct Object<Rest, Member> {
    name: &'static str,
    types: PhantomData<(Rest, Member)>,
}

impl<'de, Rest: Deserialize<'de>, Member: Deserialize<'de> + Default> Visitor<'de>
    for Object<Rest, Member>
{
    type Value = (Rest, Member);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut member = Member::default();
        let others = Others {
            map,
            name: self.name,
            member: &mut member,
        };
        let rest = Rest::deserialize(MapAccessDeserializer::new(others))?;
        Ok((rest, member))
    }
}

/// The members that are handed on.
struct Others<'a, A, Member> {
    map: A,
    name: &'static str,
    member: &'a mut Member,
}

impl<'de, A: MapAccess<'de>, Member: Deserialize<'de>> MapAccess<'de> for Others<'_, A, Member> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        while let Some(key) = self.map.next_key_seed(Key {
            name: self.name,
            seed: &mut seed,
        })? {
            match key {
                Some(key) => return Ok(Some(key)),
                None => *self.member = self.map.next_value()?,
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Decodes a key by the seed, but for one.
struct Key<'a, K> {
    name: &'static str,
    /// Until it is used.
    seed: &'a mut Option<K>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, K> {
    type Value = Option<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Key<'_, K> {
    type Value = Option<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        if key == self.name {
            return Ok(None);
        }
        let seed = self.seed.take().expect("serde asks for a key once");
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }
}
