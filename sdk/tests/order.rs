//! Which requests of a container run together and in which order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hulynet_sdk::prelude::*;
use hulynet_sdk::testing::{Container, request};
use tokio::sync::Notify;

thread_local! {
    static STEPS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static GATE: Rc<Notify> = Rc::default();
}

async fn step(name: String) {
    STEPS.with_borrow_mut(|steps| steps.push(format!("+{name}")));
    GATE.with(Rc::clone).notified().await;
    STEPS.with_borrow_mut(|steps| steps.push(format!("-{name}")));
}

#[derive(Default)]
struct Steps;

#[kind]
impl Steps {
    async fn shared(&self, name: String) {
        step(name).await;
    }

    async fn exclusive(&mut self, name: String) {
        step(name).await;
    }
}

#[tokio::test]
async fn shared_methods_run_together_and_exclusive_ones_alone_in_order_of_arrival() -> Result<()> {
    let container = Container::<Steps>::default();
    container.start(Vec::new()).await?;
    let running = Cell::new(6);
    let ask = async |operation, name| {
        let answer = container.request(request(operation, format!("[{name:?}]"))).await;
        running.set(running.get() - 1);
        answer.map(|_| ())
    };
    let gate = async {
        while running.get() > 0 {
            GATE.with(|gate| gate.notify_waiters());
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    futures::try_join!(
        ask("shared", "a"),
        ask("shared", "b"),
        ask("exclusive", "c"),
        ask("exclusive", "d"),
        ask("shared", "e"),
        ask("shared", "f"),
        gate,
    )?;
    let steps = STEPS.take().join(" ");
    assert_eq!(steps, "+a +b -a -b +c -c +d -d +e +f -e -f");
    Ok(())
}
