//! How a ladder is written in configuration. By hand, since serde's untagged enums forget what was wrong.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ladder::{Ladder, RungConfig, SOURCE, Step};
use crate::media::RenditionId;

impl Serialize for Ladder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::List(steps) => steps.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Ladder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LadderVisitor)
    }
}

struct LadderVisitor;

impl<'de> Visitor<'de> for LadderVisitor {
    type Value = Ladder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or a list such as [\"source\", { height = 720 }]")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Ladder, E> {
        match word {
            "auto" => Ok(Ladder::Auto),
            _ => Err(E::custom(format_args!(
                "\"{}\" is no ladder (try \"auto\" or [\"source\", {{ height = 720 }}])",
                word.escape_default()
            ))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Ladder, A::Error> {
        let (mut steps, mut names) = (Vec::new(), HashSet::new());
        while let Some(step) = items.next_element::<Step>()? {
            let name = step.name();
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("two renditions are called \"{name}\"")));
            }
            names.insert(name);
            steps.push(step);
        }
        if steps.is_empty() {
            return Err(A::Error::custom("a ladder has one rendition at least"));
        }
        Ok(Ladder::List(steps))
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Source => serializer.serialize_str(SOURCE),
            Self::Rung(rung) => rung.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Step;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"source\" or a rung such as { height = 720, bitrate = \"2500k\" }")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Step, E> {
        match word {
            SOURCE => Ok(Step::Source),
            _ => Err(E::custom(format_args!(
                "\"{}\" is no rendition (try \"source\" or {{ height = 720, bitrate = \"2500k\" }})",
                word.escape_default()
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step, A::Error> {
        let rung = RungConfig::deserialize(MapAccessDeserializer::new(map))?;
        let refused = |what: String| Err(A::Error::custom(what));
        if !(16..=4320).contains(&rung.height) {
            return refused(format!("a rung's height is 16 to 4320, not {}", rung.height));
        }
        if rung.frame_rate.is_some_and(|rate| !(1..=240).contains(&rate)) {
            return refused("a rung's frame rate is 1 to 240".to_owned());
        }
        if rung.bitrate.is_some_and(|rate| !(10_000..=500_000_000).contains(&rate.get())) {
            return refused("a rung's bit rate is 10k to 500M".to_owned());
        }
        let step = Step::Rung(rung);
        match step.name().parse::<RenditionId>() {
            Ok(_) => Ok(step),
            Err(why) => refused(format!("\"{}\" names no rendition: {why}", step.name().escape_default())),
        }
    }
}

impl Step {
    fn name(&self) -> String {
        match self {
            Self::Source => SOURCE.to_owned(),
            Self::Rung(rung) => rung.name.clone().unwrap_or_else(|| format!("{}p", rung.height)),
        }
    }
}
