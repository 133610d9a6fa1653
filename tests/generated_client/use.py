"""What a program does with the client that openapi-python-client makes from the document.

Arguments: the folder of the generated package, base URL, an open market's id. Ends with "all fine", or with the
assertion that failed.
"""

import sys

folder, base_url, market_id = sys.argv[1:4]
sys.path.insert(0, folder)

from plumbline_client import AuthenticatedClient, Client
from plumbline_client.api.accounts import accounts_create_token, accounts_me, accounts_sign_in, accounts_sign_up
from plumbline_client.api.allocations import allocations_history, allocations_list
from plumbline_client.api.markets import markets_audit, markets_list, markets_show, markets_trade, markets_trades
from plumbline_client.models import CreateAccount, CreateToken, Login, Problem, TradeOrder

PASSWORD = "correct horse battery"


def account():
    """Signs up, and makes a token with a session."""
    visitor = Client(base_url=base_url, raise_on_unexpected_status=True)
    made = accounts_sign_up.sync_detailed(client=visitor, body=CreateAccount(handle="grace", password=PASSWORD))
    assert made.status_code == 201, made
    again = accounts_sign_up.sync(client=visitor, body=CreateAccount(handle="grace", password=PASSWORD))
    assert isinstance(again, Problem) and again.code == "handle-taken", again
    session = accounts_sign_in.sync_detailed(client=visitor, body=Login(handle="grace", password=PASSWORD))
    cookie = session.headers["set-cookie"].split(";")[0].split("=", 1)
    browser = Client(base_url=base_url, raise_on_unexpected_status=True, cookies={cookie[0]: cookie[1]},
                     headers={"x-csrf-token": session.parsed.csrf_token})
    wanted = CreateToken(name="client", scopes=["read", "trade"])
    return accounts_create_token.sync(client=browser, body=wanted).token


def trade(client):
    """Buys, twice with one key, and looks at what it did."""
    before = markets_show.sync(market_id, client=client)
    order = TradeOrder(outcome="yes", spend_micro=5_000_000)
    bought = markets_trade.sync(market_id, client=client, body=order, idempotency_key="once")
    repeated = markets_trade.sync(market_id, client=client, body=order, idempotency_key="once")
    assert bought.id == repeated.id and bought.cost_micro <= 5_000_000, (bought, repeated)
    after = markets_show.sync(market_id, client=client)
    assert after.probability == bought.probability_after > before.probability, after
    trades = markets_trades.sync(market_id, client=client, limit=10)
    assert [one.id for one in trades.items] == [bought.id], trades
    assert market_id in [one.id for one in markets_list.sync(client=client).items]
    me = accounts_me.sync(client=client)
    assert me.locked_micro == bought.cost_micro, me
    assert bought.id in markets_audit.sync(market_id, client=client)


def decisions(client):
    """What is in force, what there was, and that what is known is not sent again."""
    now = allocations_list.sync_detailed(client=client)
    assert now.parsed.version >= 0 and isinstance(now.parsed.items, list)
    known = allocations_list.sync_detailed(client=client, if_none_match=now.headers["etag"])
    assert known.status_code == 304, known
    history = allocations_history.sync(client=client, limit=5)
    assert len(history.items) <= 5
    refused = allocations_history.sync(client=client, limit=500)
    assert isinstance(refused, Problem) and refused.status == 400, refused


client = AuthenticatedClient(base_url=base_url, token=account(), raise_on_unexpected_status=True)
trade(client)
decisions(client)
print("all fine")
