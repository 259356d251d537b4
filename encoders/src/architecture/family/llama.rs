//! Llama (Touvron et al. 2023; Llama Team 2024).

use super::{Family, decoder};

pub(crate) const FAMILY: Family = Family {
    model_type: "llama",
    read: |path, config| decoder::read(FAMILY.model_type, path, config, &decoder::NO_WINDOW),
    names: decoder::NAMES,
};
