-- The number of days with any value: readers of a pack or set ask for it, and counting it reads all of its values.
ALTER TABLE pricing_packs ADD COLUMN days INTEGER;
ALTER TABLE factor_sets ADD COLUMN days INTEGER;

ALTER TABLE pricing_packs DISABLE TRIGGER pricing_packs_immutable;
ALTER TABLE factor_sets DISABLE TRIGGER factor_sets_immutable;
UPDATE pricing_packs SET days = (SELECT COUNT(DISTINCT day) FROM prices WHERE pack_number = number);
UPDATE factor_sets SET days = (SELECT COUNT(DISTINCT day) FROM factor_returns WHERE set_number = number);
ALTER TABLE pricing_packs ENABLE TRIGGER pricing_packs_immutable;
ALTER TABLE factor_sets ENABLE TRIGGER factor_sets_immutable;

ALTER TABLE pricing_packs ALTER COLUMN days SET NOT NULL;
ALTER TABLE factor_sets ALTER COLUMN days SET NOT NULL;
