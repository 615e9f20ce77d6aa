//! `config`: the effective settings and where each comes from.

use serde_json::{Value, json};

use crate::{
    config::{Layers, Settings, TABLE},
    failure::Failure,
    output,
};

/// `hulynet config`.
pub(crate) fn config(layers: &Layers, settings: &Settings) -> Result<(), Failure> {
    let shown = settings.shown();
    let rows = TABLE.iter().zip(&shown).zip(&settings.origins);
    if settings.json {
        let row = |((setting, value), origin): (
            (&crate::config::Setting, &String),
            &crate::config::Origin,
        )| {
            json!({
                "key": setting.key,
                "value": value,
                "origin": origin.json(),
                "default": setting.default,
                "variable": setting.variable(),
                "about": setting.doc,
            })
        };
        let file = layers.file().map(|path| path.display().to_string());
        let config = json!({ "file": file, "settings": rows.map(row).collect::<Value>() });
        return Ok(output::line(&config.to_string())?);
    }
    let rows = rows.map(|((setting, value), origin)| {
        vec![setting.key.to_owned(), value.clone(), origin.to_string(), setting.doc.to_owned()]
    });
    Ok(output::table(&["setting", "value", "from", "about"], rows.collect(), "")?)
}
