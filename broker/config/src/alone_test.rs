//! Rules of what a broker that stands alone has, of its listeners' pages, and of what is kept.

use crate::validate_test::{ALONE, MINIMAL};
use crate::{Config, ConfigError, ParseError, RawConfig};

#[test]
fn numbers_are_told_alone_and_to_this_machine_unless_somebody_says_that_others_may_read_them() {
    let of = |table: &str| Config::parse(&format!("{ALONE}[metrics]\n{table}\n"));
    let address = |table: &str| of(table).unwrap().metrics.unwrap().to_string();
    assert_eq!(Config::parse(ALONE).unwrap().metrics, None);
    assert_eq!(address("address = '127.0.0.1:9'"), "127.0.0.1:9");
    assert_eq!(address("address = '[::1]:9'"), "[::1]:9");
    let open = "address = '0.0.0.0:9'\nacknowledge_plaintext = true";
    assert_eq!(address(open), "0.0.0.0:9");
    let error = of("address = '0.0.0.0:9'").unwrap_err().to_string();
    assert!(error.contains("metrics.acknowledge_plaintext"), "{error}");
    let error = of("address = '127.0.0.1:1883'").unwrap_err().to_string();
    assert!(error.contains("metrics.address") && error.contains("listener"), "{error}");
    let error = Config::parse(&format!("{MINIMAL}[metrics]\naddress = '127.0.0.1:9'\n"));
    assert_eq!(error.unwrap_err(), ConfigError::MetricsInCluster.into());
}

#[test]
fn the_environment_can_name_the_address_of_the_numbers_too() {
    let of = |variables: &[(&str, &str)]| {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|v| v.1.to_owned());
        Config::parse_with(ALONE, find).map(|config| config.metrics)
    };
    let (address, acknowledge) = ("DUNLIN_METRICS_ADDRESS", "DUNLIN_METRICS_ACKNOWLEDGE_PLAINTEXT");
    assert_eq!(of(&[(acknowledge, "true")]).unwrap(), None);
    let found = of(&[(address, "127.0.0.1:9")]).unwrap().unwrap();
    assert_eq!(found.to_string(), "127.0.0.1:9");
    assert!(of(&[(address, "10.0.0.1:9")]).is_err());
    assert!(of(&[(address, "10.0.0.1:9"), (acknowledge, "true")]).unwrap().is_some());
    let error = of(&[(address, "9090")]).unwrap_err();
    assert!(matches!(error, ParseError::Override { .. }), "{error}");
}

#[test]
fn pages_are_named_as_browsers_name_them_and_where_they_connect() {
    let with = |protocol, origins: &[&str]| {
        let mut raw = RawConfig::parse(ALONE).unwrap();
        raw.listeners[0].protocol = protocol;
        raw.listeners[0].websocket_origins = origins.iter().map(|o| (*o).to_owned()).collect();
        Config::try_from(raw).map(|config| config.listeners[0].websocket_origins.clone())
    };
    let ws = crate::Protocol::Ws;
    for origin in ["https://plant.example", "http://localhost:8080", "null"] {
        assert_eq!(with(ws, &[origin]).unwrap(), [origin]);
    }
    for origin in ["plant.example", "https://", "https://plant.example/", "https://a b", ""] {
        let error = with(ws, &[origin]).unwrap_err();
        assert!(matches!(error, ConfigError::Origin { .. }), "{origin}: {error}");
    }
    let error = with(crate::Protocol::Mqtt, &["null"]).unwrap_err();
    assert!(matches!(error, ConfigError::OriginsWithoutWebSocket { .. }), "{error}");
}

#[test]
fn what_follows_from_the_memory_budget_is_left_open_and_not_written() {
    let raw = RawConfig::parse(MINIMAL).unwrap();
    for key in ["bytes_total_max", "durable_bytes_max", "messages_total_max", "message_expiry"] {
        assert!(!raw.render().contains(key), "an older broker has its own default: {key}");
    }
    assert!(!raw.render().contains("\nbytes_max = 0"), "of retained messages, too");
    let config = Config::try_from(raw).unwrap();
    assert_eq!((config.sessions.durable_bytes_max, config.retained.bytes_max), (None, None));
    let text = format!(
        "{MINIMAL}[sessions]\ndurable_bytes_max = 7000000\n[mqtt]\nmessage_expiry_max_seconds = 9\n"
    );
    let config = Config::parse(&text).unwrap();
    assert_eq!(config.sessions.durable_bytes_max, Some(7_000_000));
    assert_eq!(config.mqtt.message_expiry_max, Some(std::time::Duration::from_secs(9)));
}
