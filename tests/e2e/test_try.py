import pytest
from shop import open_shop
def test_x(laptop, databases, database):
    import time
    with databases.connected(database) as c:
        o = open_shop(laptop, c)
        t=time.time(); r = laptop.command("run"); print(time.time()-t, r.stderr)
        o.check(laptop, against_source=True)
        c.execute("update customer set name='x', updated_at=clock_timestamp() where customer_id < 5")
        t=time.time(); r = laptop.command("run"); print(time.time()-t, r.stderr, r.stdout[-600:])
        o.check(laptop, against_source=True)
        t=time.time(); r = laptop.command("run"); print(time.time()-t, r.stderr, laptop.plan()["customer"])
        print(laptop.timestamp())
