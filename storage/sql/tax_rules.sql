-- name: put
INSERT INTO tax_rules (
    jurisdiction, valid_from, long_term_months, wash_sale_days, yearly_loss_limit, separate_loss_limit, source
) VALUES (
    %(jurisdiction)s, %(valid_from)s, %(long_term_months)s, %(wash_sale_days)s, %(yearly_loss_limit)s,
    %(separate_loss_limit)s, %(source)s
)
ON CONFLICT (jurisdiction, valid_from) DO UPDATE SET
    long_term_months = EXCLUDED.long_term_months, wash_sale_days = EXCLUDED.wash_sale_days,
    yearly_loss_limit = EXCLUDED.yearly_loss_limit, separate_loss_limit = EXCLUDED.separate_loss_limit,
    source = EXCLUDED.source;

-- name: find
SELECT jurisdiction, valid_from, long_term_months, wash_sale_days, yearly_loss_limit, separate_loss_limit, source
FROM tax_rules WHERE jurisdiction = %(jurisdiction)s ORDER BY valid_from;
