//! Calls `GetCallerIdentity` again and again with one client of the AWS SDK for Rust.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata};

#[tokio::main]
async fn main() {
    println!("version {}", aws_sdk_sts::meta::PKG_VERSION);
    let pause = Duration::from_secs_f64(std::env::var("PAUSE").unwrap().parse().unwrap());
    let http_client = aws_smithy_http_client::Builder::new().build_http();
    let configuration = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .load()
        .await;
    let client = aws_sdk_sts::Client::new(&configuration);
    loop {
        match client.get_caller_identity().send().await {
            Ok(_) => println!("ok"),
            Err(error) => match error.code() {
                Some(code) => println!("refused {code}"),
                None => {
                    let text = DisplayErrorContext(&error).to_string();
                    println!("failed {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
                }
            },
        }
        tokio::time::sleep(pause).await;
    }
}
