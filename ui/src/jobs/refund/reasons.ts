import { t } from '../../lib/messages';

/** The reasons that are one touch away. */
export const commonReasons = () => [
  t('refund.reason.damaged'),
  t('refund.reason.wrong'),
  t('refund.reason.unwanted'),
];
