"""PostgreSQL storage: frozen records in and out, named SQL, migrations, and an embedded server.

Knows neither the mathematics nor the wire: it takes and gives the records of :mod:`storage.records`.
"""
