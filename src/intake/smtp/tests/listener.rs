//! The listener over real sockets.

use tokio::net::{TcpListener, TcpStream};

use super::super::serve;
use super::*;

#[tokio::test]
async fn sessions_are_limited_and_drained() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (intake, stop) = (bench.intake.clone(), bench.stop.subscribe());
    let server = tokio::spawn(async move {
        let config = intake.config().smtp.clone().unwrap();
        serve(listener, &config, None, intake, stop).await;
    });
    let connect = || async {
        let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        Client { stream, session: tokio::spawn(async {}) }
    };
    let mut first = connect().await;
    first.up_to_data().await;
    let mut second = connect().await;
    second.expect(&["220 "]).await;
    let mut third = connect().await;
    third.expect(&["421 4.7.0 fax.example.com has too many sessions at the moment"]).await;
    third.over().await;

    second.send("QUIT\r\n").await;
    second.expect(&["221 "]).await;
    second.over().await;
    // The place is given back just after the connection is closed.
    let mut fourth = loop {
        let mut client = connect().await;
        if client.hear().await.starts_with("220 ") {
            break client;
        }
    };

    bench.stop.send_replace(true);
    fourth.expect(&["421 4.3.2"]).await;
    fourth.over().await;
    let reply = first.say("Subject: x\r\n\r\nbody\r\n.\r\n").await;
    assert_eq!(bench.accepted(&reply).await.0, b"Subject: x\r\n\r\nbody\r\n");
    first.expect(&["421 4.3.2"]).await;
    first.over().await;
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
