//! The environment variables of the Hugging Face tools.

use std::path::{Path, PathBuf};

use crate::download::{DownloadError, HubConfig};

fn config(variables: &[(&str, &str)]) -> Result<HubConfig, DownloadError> {
    HubConfig::from_env(|name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn the_cache_is_where_the_most_specific_variable_says() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("HOME", "/home/u")], "/home/u/.cache/huggingface/hub"),
        (&[("HOME", "/home/u"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
        (&[("HOME", "/home/u"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
        (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
        (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new"),
        (&[("HOME", "/home/u"), ("HF_HOME", "~/hf")], "/home/u/hf/hub"),
        (&[("HOME", "/home/u"), ("HF_HOME", " "), ("HF_HUB_CACHE", "")], "/home/u/.cache/huggingface/hub"),
        (&[("USERPROFILE", "/users/u")], "/users/u/.cache/huggingface/hub"),
    ];
    for (variables, expected) in cases {
        assert_eq!(config(variables).unwrap().cache_dir, PathBuf::from(expected), "{variables:?}");
    }
    assert!(matches!(config(&[]), Err(DownloadError::NoHome)));
}

#[test]
fn the_network_is_off_for_the_values_that_mean_so() {
    for (value, expected) in
        [("1", true), ("on", true), ("Yes", true), ("TRUE", true), ("0", false), ("", false), ("no", false)]
    {
        for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            let config = config(&[("HOME", "/h"), (variable, value)]).unwrap();
            assert_eq!(config.offline, expected, "{variable}={value}");
        }
    }
}

#[test]
fn the_endpoint_and_the_token() {
    let plain = config(&[("HOME", "/nowhere")]).unwrap();
    assert_eq!((plain.endpoint.as_str(), plain.token.as_deref()), ("https://huggingface.co", None));
    assert_eq!(plain.viewer, "https://datasets-server.huggingface.co");
    let set =
        config(&[("HOME", "/nowhere"), ("HF_ENDPOINT", "http://mirror/"), ("HF_TOKEN", " hf_secret\n")])
            .unwrap();
    assert_eq!((set.endpoint.as_str(), set.token.as_deref()), ("http://mirror", Some("hf_secret")));
    assert_eq!(set.viewer, "http://datasets-server.mirror");
    assert!(!format!("{set:?}").contains("hf_secret"));

    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("token"), "hf_from_file\n").unwrap();
    let path: &Path = home.path();
    let variables = [("HF_HOME", path.to_str().unwrap())];
    assert_eq!(config(&variables).unwrap().token.as_deref(), Some("hf_from_file"));
}
