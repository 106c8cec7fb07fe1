// Makes sigstore-js.json and sigstore-js.pub: a bundle about the two bytes `{}` by Sigstore's own library for
// JavaScript, as cosign makes it with a key. Needs node, openssl, and npm install @sigstore/sign@4.1.1 @sigstore/bundle@4.0.0:
//
//   openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
//   openssl pkey -in key.pem -pubout -out sigstore-js.pub && node sigstore-js.cjs && rm key.pem
const fs = require('fs');
const crypto = require('crypto');
const { DSSEBundleBuilder } = require('@sigstore/sign');
const { bundleToJSON } = require('@sigstore/bundle');

const key = crypto.createPrivateKey(fs.readFileSync('key.pem'));
const signer = {
  sign: async (data) => ({
    signature: crypto.sign('sha256', data, key),
    key: { $case: 'publicKey', publicKey: fs.readFileSync('sigstore-js.pub', 'utf8'), hint: 'key' },
  }),
};
const statement = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ digest: { sha256: crypto.createHash('sha256').update('{}').digest('hex') }, annotations: {} }],
  predicateType: 'https://sigstore.dev/cosign/sign/v1',
  predicate: {},
};
(async () => {
  const builder = new DSSEBundleBuilder({ signer, witnesses: [] });
  const data = Buffer.from(JSON.stringify(statement));
  const bundle = await builder.create({ data, type: 'application/vnd.in-toto+json' });
  fs.writeFileSync('sigstore-js.json', JSON.stringify(bundleToJSON(bundle), null, 2) + '\n');
})();
